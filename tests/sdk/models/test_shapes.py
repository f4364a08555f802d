"""The shape of an answer: how it may be given, and what it says of an answer that does not have it."""

from __future__ import annotations

import datetime
import ipaddress
import json
import uuid
from typing import Any, Literal

import pytest
from pydantic import AnyUrl, BaseModel, TypeAdapter

from distilmq.errors import DistilmqUserError
from distilmq.models.llms.shapes import plain_shape, shape_of


class City(BaseModel):
    name: str
    size: Literal["small", "large"]


SCHEMA = City.model_json_schema()


def fault(answer: str, schema: Any = SCHEMA) -> str | None:
    shape = shape_of({"schema": schema})
    assert shape is not None
    return shape.fault(answer)


@pytest.mark.parametrize(
    "given",
    [
        {"schema": City},
        {"schema": SCHEMA},
        {"schema": json.dumps(SCHEMA)},
        {"format": "json", "schema": City},
        {"format": None, "schema": SCHEMA},
        City,
    ],
)
def test_a_schema_is_json_however_it_is_given(given: Any) -> None:
    assert plain_shape(given) == {"format": "json", "schema": SCHEMA}


def test_what_distilabel_takes_beside_the_schema_is_taken() -> None:
    given = {"schema": City, "mode": "tool_call", "max_retries": 4, "whitespace_pattern": None}

    shape = shape_of(given)

    assert shape is not None
    assert (shape.schema, shape.max_retries) == (SCHEMA, 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "has to be"),
        ({"schema": None}, "has to be"),
        ({"format": "yaml", "schema": SCHEMA}, "has to be"),
        ({"shema": SCHEMA}, r"names \['shema'\]"),
        ({"schema": "not JSON"}, "is no JSON"),
        ({"schema": 3}, "has to be a pydantic model or a JSON schema"),
        ({"format": "regex", "schema": SCHEMA}, "has to be text"),
    ],
)
def test_what_says_no_shape_is_refused_with_what_it_has_to_be(given: Any, words: str) -> None:
    with pytest.raises(DistilmqUserError, match=words):
        plain_shape(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"schema": {"type": "strin"}}, r"is no JSON schema: `\$\.type`: 'strin'"),
        ({"schema": {"$ref": "#/$defs/City"}}, "refers to '#/\\$defs/City', which it does not hold"),
        ({"schema": {"items": [{"$ref": "https://example.org/city.json"}]}}, "is no JSON schema"),
        ({"schema": {"items": {"$ref": "https://example.org/city.json"}}}, "refers to 'https://example.org/city.json'"),
        ({"format": "regex", "schema": "["}, "cannot be read: unterminated"),
    ],
)
def test_a_shape_that_no_answer_can_be_held_against_says_so(given: Any, words: str) -> None:
    shape = shape_of(given)
    assert shape is not None

    with pytest.raises(DistilmqUserError, match=words):
        shape.check()


def test_references_within_a_schema_are_followed() -> None:
    class Country(BaseModel):
        cities: list[City]

    shape = shape_of({"schema": Country})
    assert shape is not None
    shape.check()

    assert shape.fault('{"cities": [{"name": "Ulm", "size": "small"}]}') is None
    assert shape.fault('{"cities": [{"name": "Ulm", "size": "tiny"}]}') == (
        "`$.cities[0].size`: 'tiny' is not one of ['small', 'large']"
    )


def test_an_answer_that_is_right_has_no_fault() -> None:
    assert fault('{"name": "Ulm", "size": "small"}') is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('{"name": "Ulm", "size"', "it ends before its JSON does"),
        ('{"name": "Ul', "it ends before its JSON does"),
        ("", "it ends before its JSON does"),
        ("Ulm is small.", "it is not JSON"),
        ('{"name": "Ulm", "size": "small"} as you asked', "it is not JSON (Extra data"),
        ('{"name": "Ulm", "size": -Infinity}', "-Infinity is no number of JSON's"),
        ("[" * 100_000, "it is not JSON"),
        ('{"size": "small"}', "`$`: 'name' is a required property"),
        ('{"name": 3, "size": "tiny"}', "`$.name`: 3 is not of type 'string'; `$.size`: 'tiny' is not one of"),
    ],
)
def test_a_fault_is_told_with_its_place(answer: str, words: str) -> None:
    told = fault(answer)

    assert told is not None
    assert words in told


def test_a_long_fault_is_cut() -> None:
    told = fault(json.dumps({"name": ["x" * 10_000], "size": "small"}))

    assert told is not None
    assert len(told) < 400


def test_of_alternatives_the_nearest_is_told() -> None:
    either = {"anyOf": [{"type": "null"}, SCHEMA]}

    assert fault('{"name": "Ulm", "size": 3}', either) == "`$.size`: 3 is not one of ['small', 'large']"


def test_a_schema_may_name_the_draft_that_it_is_of() -> None:
    draft7 = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]}

    assert fault("[1]", draft7) is None
    assert fault('["one"]', draft7) == "`$[0]`: 'one' is not of type 'integer'"


def test_a_schema_that_leads_round_in_a_circle_is_an_error() -> None:
    with pytest.raises(DistilmqUserError, match="cannot be followed"):
        fault("1", {"$ref": "#"})


def test_an_answer_that_is_too_deep_to_look_at_is_its_own_fault() -> None:
    schema = {"type": "array", "items": {"$ref": "#"}}

    assert fault("[" * 10 + "]" * 10, schema) is None
    assert fault("[" * 400 + "]" * 400, schema) == "it is nested 400 deep, which is too deep to look at"


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (datetime.datetime, ["2024-05-01T10:00:00.5+02:00", "2024-05-01 10:00"], "the first of May"),
        (datetime.datetime, ["2024-05-01T10:00:00Z"], "2024"),
        (datetime.date, ["2024-02-29"], "2023-02-29"),
        (datetime.time, ["10:00:00", "23:59"], "25:00"),
        (datetime.timedelta, ["P3DT4H", "-PT5M"], "two days"),
        (uuid.UUID, ["123e4567-e89b-12d3-a456-426614174000"], "123e4567"),
        (AnyUrl, ["https://example.org/a?b=c"], "example dot org"),
        (ipaddress.IPv4Address, ["10.0.0.1"], "10.0.0.256"),
        (ipaddress.IPv6Address, ["::1"], "::g"),
    ],
)  # fmt: skip
def test_text_of_a_format_is_what_pydantic_takes_for_it(kind: Any, right: list[str], wrong: str) -> None:
    item = TypeAdapter(kind).json_schema()
    schema = {"type": "array", "items": item}

    assert fault(json.dumps(right), schema) is None
    assert fault(json.dumps([right[0], wrong]), schema) == f"`$[1]`: {wrong!r} is not a {item['format']!r}"


def test_a_format_that_nobody_knows_says_nothing() -> None:
    assert fault('"whatever"', {"type": "string", "format": "the name of a tree"}) is None
    assert fault("7", {"format": "date-time"}) is None


def test_text_is_held_against_a_regular_expression_as_a_whole() -> None:
    shape = shape_of({"format": "regex", "schema": "[a-z]+"})
    assert shape is not None

    assert shape.fault("ulm") is None
    assert shape.fault("ulm!") == "it does not match `[a-z]+`"
