"""Which options of a file system are secrets, by their names, and how they are kept out of what is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

_NAME = re.compile(r"key|secret|token|password|passwd|credential|connection_string", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]*(?=@)")
_SHORTEST = 4
"""Characters of a secret that is looked for in a text: one that is shorter would be found everywhere."""


def secrets_in(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of the texts among options whose names, or whose outer names, are those of secrets."""
    for name, value in options.items():
        if _NAME.search(name):
            yield from ((name, text) for text in _texts(value))
        elif isinstance(value, Mapping):
            inner = cast("Mapping[str, Any]", value)
            yield from ((f"{name}.{below}", text) for below, text in secrets_in(inner))


def hidden(text: str, options: Mapping[str, Any]) -> str:
    """A text without passwords of URLs in it, and without the secrets among options."""
    shown = _IN_URL.sub(r"\1:***", text)
    for secret in sorted({secret for _, secret in secrets_in(options)}, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            shown = shown.replace(secret, "***")
    return shown


def has_password(url: str) -> bool:
    """Whether a URL has a password in it."""
    return _IN_URL.search(url) is not None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[str, Any]", value).values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in cast("list[Any]", value):
            yield from _texts(inner)
