"""Formats of texts in JSON schemas: dates, addresses and the like.

JSON Schema leaves it open whether `format` is looked at
(https://json-schema.org/draft/2020-12/json-schema-validation#section-7); who asks for a date wants one. Where
jsonschema has no check of its own, a text is what pydantic takes for one, since most schemas are those of pydantic
models. A format that neither knows says nothing.
"""

from __future__ import annotations

import datetime
from functools import cache
from typing import Annotated, Any

from pydantic import AnyUrl, BeforeValidator, TypeAdapter


def _with_hours(text: str) -> str:
    """pydantic takes a number for the seconds since 1970, and a date alone for its midnight."""
    if ":" not in text:
        raise ValueError("there is no time of day")
    return text


_TYPES: dict[str, Any] = {
    "date-time": Annotated[datetime.datetime, BeforeValidator(_with_hours)],
    "time": datetime.time,
    "duration": datetime.timedelta,
    "uri": AnyUrl,
}


@cache
def format_checker() -> Any:
    """What a validator of jsonschema looks at formats with."""
    from jsonschema import Draft202012Validator, FormatChecker

    known: Any = Draft202012Validator.FORMAT_CHECKER
    checker: Any = FormatChecker(())
    checker.checkers = dict(known.checkers)
    for name, kind in _TYPES.items():
        checker.checkers[name] = (_check(kind), ValueError)
    return checker


def _check(kind: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def check(value: object) -> bool:
        if isinstance(value, str):
            adapter.validate_python(value)  # its error is a ValueError
        return True

    return check
