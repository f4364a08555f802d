"""Schemas that OpenAI takes as strict, and those that it would refuse."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

from distilmq.models.llms.strict_schemas import DEEPEST, MOST_PROPERTIES, is_strict

TEXT = {"type": "string"}


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    kind: Literal["good", "bad"] | None


class Whole(BaseModel):
    """With what pydantic writes into schemas: titles, descriptions, references, alternatives."""

    model_config = ConfigDict(extra="forbid")
    parts: list[Part]
    first: Part
    number: int | float
    same: bool


class Open(BaseModel):
    name: str


class Optional(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = "nobody"


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def nested(levels: int) -> dict[str, Any]:
    return closed(below=TEXT if levels == 2 else nested(levels - 1))


@pytest.mark.parametrize(
    "schema",
    [
        Whole.model_json_schema(),
        closed(text=TEXT),
        closed(text={"type": ["string", "null"], "description": "if there is one"}),
        closed(kind={"enum": ["a", "b"]}, always={"const": 1}),
        closed(text={"$ref": "#/$defs/text"}) | {"$defs": {"text": TEXT}, "title": "A text"},
        closed(below={"$ref": "#"}),
        nested(DEEPEST),
        closed(**{f"p{n}": TEXT for n in range(MOST_PROPERTIES)}),
    ],
)
def test_a_schema_that_obeys_the_rules_is_strict(schema: dict[str, Any]) -> None:
    assert is_strict(schema)


@pytest.mark.parametrize(
    "schema",
    [
        Open.model_json_schema(),
        Optional.model_json_schema(),
        {"type": "object"},
        {"type": "array", "items": TEXT},
        {"anyOf": [closed(text=TEXT), closed(number={"type": "number"})]},
        closed(text=TEXT) | {"additionalProperties": True},
        closed(text=TEXT, more=TEXT) | {"required": ["text"]},
        closed(text=TEXT) | {"patternProperties": {}},
        closed(text={"type": "string", "minLength": 1}),
        closed(text={"type": "string", "default": "none"}),
        closed(text={"$ref": "#/$defs/text", "description": "beside a reference"}) | {"$defs": {"text": TEXT}},
        closed(open={"type": "object", "properties": {}}),
        closed(open={"type": ["object", "null"], "properties": {}}),
        closed(open={"properties": {"a": TEXT}}),
        closed(list={"type": "array", "items": {"type": "object"}}),
        closed(either={"anyOf": [TEXT, {"type": "object"}]}),
        closed(text={"$ref": "#/$defs/open"}) | {"$defs": {"open": {"type": "object"}}},
        closed(anything=True),
        nested(DEEPEST + 1),
        closed(**{f"p{n}": TEXT for n in range(MOST_PROPERTIES + 1)}),
    ],
)
def test_a_schema_that_breaks_a_rule_is_not(schema: dict[str, Any]) -> None:
    assert not is_strict(schema)
