"""Which JSON schemas OpenAI can hold a model to strictly, token by token, instead of as well as it can.

After the "Supported schemas" of OpenAI's guide to structured outputs. A request whose schema breaks a rule is refused
as a whole, so what an older version of the rules did not allow is not sent as strict either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

DEEPEST = 5
"""Levels of objects and lists in each other."""
MOST_PROPERTIES = 100
"""In the whole schema."""
_WORDS = frozenset({"description", "title"})
_DEFINITIONS = ("$defs", "definitions")
_KNOWN = _WORDS | {
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "definitions",
    "enum",
    "items",
    "properties",
    "required",
    "type",
}
"""Keywords that are taken."""


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether a schema obeys the rules: each object names all its properties, all of them are required, and no others
    are allowed; nothing but types, enumerations, alternatives and references; an object at the root."""
    if schema.get("type") != "object" or "anyOf" in schema:
        return False
    return _obeys(schema, 1) and sum(_properties(schema)) <= MOST_PROPERTIES


def _obeys(schema: Any, depth: int) -> bool:
    if not isinstance(schema, Mapping):  # `true` and `false` are schemas as well
        return False
    part = cast("Mapping[str, Any]", schema)
    if "$ref" in part:
        # What stands beside a reference is refused; at the root its definitions stand there.
        return set(part) == {"$ref"}
    if not set(part) <= _KNOWN or depth > DEEPEST:
        return False
    return _is_closed(part) and all(_obeys(below, depth + deeper) for below, deeper in _parts(part))


def _is_closed(part: Mapping[str, Any]) -> bool:
    """Whether an object has the properties that it names, all of them, and no others; true for all else."""
    kinds = part.get("type")
    if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
        return not {"properties", "required", "additionalProperties"} & set(part)
    named = part.get("properties")
    required = part.get("required")
    return (
        part.get("additionalProperties") is False
        and isinstance(named, Mapping)
        and isinstance(required, list)
        and set(cast("Mapping[str, Any]", named)) == set(cast("list[str]", required))
    )


def _parts(part: Mapping[str, Any]) -> Iterator[tuple[Any, int]]:
    """The schemas in a schema, and how much deeper they lie."""
    for below in cast("Mapping[str, Any]", part.get("properties") or {}).values():
        yield below, 1
    if "items" in part:
        yield part["items"], 1
    for below in cast("list[Any]", part.get("anyOf") or []):
        yield below, 0
    for name in _DEFINITIONS:
        for below in cast("Mapping[str, Any]", part.get(name) or {}).values():
            yield below, 0


def _properties(schema: Any) -> Iterator[int]:
    """How many properties each object of a schema has."""
    if isinstance(schema, Mapping):
        part = cast("Mapping[str, Any]", schema)
        yield len(part.get("properties") or {})
        for below, _ in _parts(part):
            yield from _properties(below)
