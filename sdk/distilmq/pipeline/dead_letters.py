"""Dead letters as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from distilmq.errors import RemoteProtocolError
from distilmq.protocol.rows import decode_value


def readable(letters: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each with `step`, `input` (the row; of a join one per branch), `error` (that is `error_class` and `message`),
    `answer` (what the model said), `attempts`, `traceback`, and where and when it was."""
    return _explained([_readable(letter) for letter in letters])


def _explained(letters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a batch that failed together, of which only the first was sent with its traceback: all have it."""
    told: dict[tuple[Any, ...], str] = {}
    for letter in letters:
        together = (letter["step"], *letter.get("seq_no", ()), letter.get("part"), letter["error"])
        letter["traceback"] = told.setdefault(together, letter["traceback"]) or letter["traceback"]
    return letters


def _readable(letter: Mapping[str, Any]) -> dict[str, Any]:
    error: Mapping[str, Any] = letter.get("error") or {}
    kind, message = error.get("type", ""), error.get("message", "")
    rest = {name: value for name, value in letter.items() if name not in ("step", "input", "error")}
    return {
        "step": letter.get("step", ""),
        "input": _row(letter.get("input")),
        "error": f"{kind}: {message}" if message else kind,
        "error_class": kind,
        "message": message,
        "traceback": error.get("traceback", ""),
        **rest,
    }


def _row(data: bytes | None) -> Any:
    if not data:
        return None
    try:
        return decode_value(data)
    except RemoteProtocolError:
        return data
