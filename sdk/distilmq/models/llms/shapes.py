"""The shape that an answer shall have: JSON of a schema, or text of a regular expression.

A schema is JSON from the moment it is given: a pydantic model stands for its schema, which is never turned back into a
class.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, NoReturn, cast

from pydantic import BaseModel

from distilmq.errors import DistilmqUserError
from distilmq.models.llms.formats import format_checker
from distilmq.models.llms.utils import split_input

_KNOWN = ("format", "schema", "max_retries", "mode", "whitespace_pattern")
"""The last two are distilabel's, for libraries that distilmq does without: they change nothing."""
_MOST_FAULTS = 5
_MOST_CHARACTERS = 300
"""Of one fault: jsonschema shows the whole value."""
_DEEP = 20
"""An answer with more within each other is itself to blame, and not its schema, when it cannot be looked at."""
_DATA = ("const", "default", "enum", "examples")
"""Keywords of a schema below which there is no schema."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What an answer has to be."""

    format: Literal["json", "regex"]
    schema: Any
    """A JSON schema, or a regular expression."""
    max_retries: int | None = None
    """How often an answer without the shape is asked for again; None where the model says it."""

    def check(self) -> None:
        """Raises DistilmqUserError if no answer can be held against it."""
        if self.format == "regex":
            _pattern(self.schema)
        else:
            _check_schema(self.schema)

    def fault(self, answer: str) -> str | None:
        """What is wrong with an answer, in words that the model can mend it by; None for one that is right.

        Raises:
            DistilmqUserError: the schema leads nowhere, or round in a circle.
        """
        if self.format == "regex":
            return None if _pattern(self.schema).fullmatch(answer) else f"it does not match `{self.schema}`"
        try:
            value = json.loads(answer, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            cut = error.pos >= len(answer.rstrip()) or error.msg.startswith("Unterminated string")
            return "it ends before its JSON does" if cut else f"it is not JSON ({error})"
        except (ValueError, RecursionError) as error:
            return f"it is not JSON ({error})"
        return "; ".join(_faults(value, self.schema)) or None

    def wanted(self) -> str:
        """What to give, in words."""
        if self.format == "regex":
            return f"text that matches the regular expression `{self.schema}`"
        return f"JSON that is valid against this schema: {_text(self.schema)}"


def shape_of(asked: Any) -> Shape | None:
    """The shape that a structured output asks for.

    Args:
        asked: `{"format": "json", "schema": …}`, with a pydantic model or a JSON schema (as a dict, or as text), or
            `{"format": "regex", "schema": …}`; a pydantic model stands for its schema. None for no shape.

    Raises:
        DistilmqUserError: it says something else.
    """
    if asked is None:
        return None
    plain = plain_shape(asked)
    return Shape(plain["format"], plain["schema"], plain.get("max_retries"))


def plain_shape(asked: Any) -> dict[str, Any]:
    """A structured output as what JSON can hold.

    Raises:
        DistilmqUserError: it says no shape.
    """
    given = cast("dict[str, Any]", asked) if isinstance(asked, dict) else {"schema": asked}
    if unknown := [name for name in given if name not in _KNOWN]:
        raise DistilmqUserError(
            f"`structured_output` names {unknown}. It is {{'format': 'json', 'schema': …}} with a pydantic model or a"
            " JSON schema, and `max_retries` if need be."
        )
    format, schema = given.get("format") or "json", given.get("schema")
    if format not in ("json", "regex") or schema is None:
        raise DistilmqUserError(
            f"`structured_output` has to be {{'format': 'json' or 'regex', 'schema': …}}, it is {asked!r}."
        )
    return {**given, "format": format, "schema": _regex(schema) if format == "regex" else _schema(schema)}


def plain_input(input: Any) -> Any:
    """An input whose shape, where it brings one, is what JSON can hold: rows keep it in their metadata.

    Raises:
        DistilmqUserError: it brings what is no shape.
    """
    conversation, shape = split_input(input)
    return input if shape is None else (conversation, plain_shape(shape))


def json_schema(shape: Any) -> dict[str, Any] | None:
    """The JSON schema that a structured output asks for; a pydantic class stands for its own.

    Raises:
        DistilmqUserError: it asks for something else than JSON of a schema.
    """
    asked = shape_of(shape)
    if asked is not None and asked.format != "json":
        raise DistilmqUserError(
            f"`structured_output` has to be {{'format': 'json', 'schema': …}} for this model and this kind of input, it"
            f" is {shape!r}."
        )
    return asked.schema if asked is not None else None


def _schema(given: Any) -> dict[str, Any]:
    if isinstance(given, type) and issubclass(given, BaseModel):
        return given.model_json_schema()
    schema: Any = cast("Any", given)
    try:
        schema = json.loads(given) if isinstance(given, str) else schema
    except ValueError as error:
        raise DistilmqUserError(f"The `schema` of `structured_output` is no JSON: {error}") from error
    if not isinstance(schema, Mapping):
        raise DistilmqUserError(
            f"The `schema` of `structured_output` has to be a pydantic model or a JSON schema, it is {given!r}."
        )
    return dict(cast("Mapping[str, Any]", schema))


def _regex(given: Any) -> str:
    if not isinstance(given, str):
        raise DistilmqUserError(
            f"The `schema` of a `structured_output` of format 'regex' has to be text, it is {given!r}."
        )
    return given


# ---------------------------------------------------------------- regular expressions


@lru_cache(maxsize=64)
def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise DistilmqUserError(
            f"The regular expression {text!r} of `structured_output` cannot be read: {error}"
        ) from error


# ---------------------------------------------------------------- JSON schemas


def _text(schema: Any) -> str:
    return json.dumps(schema, ensure_ascii=False)


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    """What holds values against a schema (a draft of its own, where it names one), and fetches nothing for it."""
    import jsonschema
    import referencing

    library: Any = jsonschema
    nothing: Any = cast("Any", referencing).Registry()
    loaded = json.loads(schema)
    kind = library.validators.validator_for(loaded, default=library.Draft202012Validator)
    return kind(loaded, registry=nothing, format_checker=format_checker())


def _faults(value: Any, schema: Any) -> list[str]:
    from referencing.exceptions import Unresolvable

    try:
        return [_told(_nearest(error)) for error in islice(_validator(_text(schema)).iter_errors(value), _MOST_FAULTS)]
    except (RecursionError, Unresolvable) as error:
        if isinstance(error, RecursionError) and (depth := _depth(value)) > _DEEP:
            return [f"it is nested {depth} deep, which is too deep to look at"]
        raise DistilmqUserError(f"The schema of `structured_output` cannot be followed: {error}") from error


def _depth(value: Any) -> int:
    """How many lists and objects are within each other."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, (dict, list))]:
        depth += 1
        level = [
            inner
            for each in cast("list[dict[str, Any] | list[Any]]", level)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


def _check_schema(schema: dict[str, Any]) -> None:
    from jsonschema.exceptions import SchemaError

    try:
        _validator(_text(schema)).check_schema(schema)
    except SchemaError as error:
        raise DistilmqUserError(f"The schema of `structured_output` is no JSON schema: {_told(error)}") from error
    except (TypeError, ValueError) as error:
        raise DistilmqUserError(f"The schema of `structured_output` is no JSON: {error}") from error
    named = '"$id"' in _text(schema)  # then references may lead to a part of it by its name
    for reference in () if named else _references(schema):
        if not _leads_somewhere(reference, schema):
            raise DistilmqUserError(
                f"The schema of `structured_output` refers to '{reference}', which it does not hold: nothing is"
                " fetched, put it under `$defs`."
            )


def _references(schema: Any) -> Iterator[str]:
    """Everything that a schema refers to."""
    if isinstance(schema, Mapping):
        part = cast("Mapping[str, Any]", schema)
        if isinstance(reference := part.get("$ref"), str):
            yield reference
        for name, value in part.items():
            if name not in _DATA:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in cast("list[Any]", schema):
            yield from _references(value)


def _leads_somewhere(reference: str, schema: Mapping[str, Any]) -> bool:
    import referencing
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    library: Any = referencing
    root: Any = library.Resource.from_contents(schema, default_specification=DRAFT202012)
    try:
        library.Registry().with_resource("", root).resolver().lookup(reference)
    except Unresolvable:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


def _told(error: Any) -> str:
    """Where a value has which fault."""
    return f"`{error.json_path}`: {error.message[:_MOST_CHARACTERS]}"


def _nearest(error: Any) -> Any:
    """Where none of several alternatives fits: the fault that lies deepest, of the one that was meant most likely."""
    deeper = [each for each in error.context if len(each.absolute_path) > len(error.absolute_path)]
    return _nearest(max(deeper, key=lambda each: len(each.absolute_path))) if deeper else error
