"""What the text of a command's option means: times, sizes, lists, names with values; one way for all commands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from distilmq.errors import DistilmqUserError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def seconds(text: str, option: str) -> float:
    """A time such as `90`, `58m` or `4h`.

    Raises:
        DistilmqUserError: it is none.
    """
    return _quantity(text, _SECONDS, option, "a time, such as 90, 58m or 4h")


def size(text: str, option: str) -> int:
    """The bytes of a size such as `64G`.

    Raises:
        DistilmqUserError: it is none.
    """
    return int(_quantity(text, _BYTES, option, "a size, such as 64G"))


def several(texts: Iterable[str]) -> list[str]:
    """The names of `a,b`, given once or several times."""
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def pair(text: str, option: str, form: str = "name=value") -> tuple[str, str]:
    """Name and value; the first `=` parts them, and only the name must be there.

    Raises:
        DistilmqUserError: it has another form.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise DistilmqUserError(f"{option} takes {form}, not {text!r}")
    return name, value


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """Names and values of `a=b,c=d`, given once or several times.

    Raises:
        DistilmqUserError: one of them is no pair.
    """
    found = dict(pair(text, option) for text in several(texts))
    for name, value in found.items():
        if not value:
            raise DistilmqUserError(f"{option} takes name=value, not '{name}='")
    return found


def counts(texts: Iterable[str], option: str) -> dict[str, int]:
    """Names and counts of `a=1,b=2`, given once or several times.

    Raises:
        DistilmqUserError: one of them is none.
    """
    found = pairs(texts, option)
    for name, count in found.items():
        if not count.isdecimal():
            raise DistilmqUserError(f"{option} takes a count, not {name}={count}")
    return {name: int(count) for name, count in found.items()}


def check_form(value: str, option: str, pattern: str, example: str) -> None:
    """For text that goes on to another program as it is; nothing is said of an option that was not given.

    Raises:
        DistilmqUserError: it has another form.
    """
    if value and not re.fullmatch(pattern, value):
        raise DistilmqUserError(f"{option} takes {example}, not {value!r}")


def _quantity(text: str, units: Mapping[str, float], option: str, example: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]?)", text)
    if found is None or found[2] not in units:
        raise DistilmqUserError(f"{option} takes {example}, not {text!r}")
    return float(found[1]) * units[found[2]]
