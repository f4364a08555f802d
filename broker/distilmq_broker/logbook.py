"""The log of a run: one JSON object per line, with the fields that are bound to it.

It has the calls of structlog's logger. structlog itself is not imported: it takes 0.2 s, a good part of the time
in which a coordinator starts.
"""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Logbook:
    """Writes events of at least `level` to a file. A disk that is full stops the log, never the run."""

    def __init__(self, stream: IO[bytes] | None, *, level: str = "info", **bound: Any) -> None:
        self._stream = stream
        self._bound = bound
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Leaves out events below a level; an unknown one means info."""
        self._least = _LEVELS.get(level.lower(), 20)

    @property
    def debugs(self) -> bool:
        """Whether debug events are written: asked before fields are put together in hot places."""
        return self._least <= 10

    def bind(self, **fields: Any) -> None:
        """Adds fields to every later line."""
        self._bound.update(fields)

    def debug(self, event: str, **fields: Any) -> None:
        """What happened with one batch or message."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """What somebody reading about the run wants to know."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """What went wrong and was dealt with."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """What ends the run or loses something."""
        self._write("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error with the traceback of the exception being handled."""
        self._write("error", event, {**fields, "traceback": traceback.format_exc()})

    def close(self) -> None:
        """Closes the file; later events are not written."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if self._stream is None or _LEVELS[level] < self._least:
            return
        line = {"time": datetime.now(UTC).isoformat(), "level": level, "event": event, **self._bound, **fields}
        try:
            self._stream.write(json.dumps(line, default=str, ensure_ascii=False).encode(errors="replace") + b"\n")
        except OSError:
            return


def open_logbook(path: Path, **bound: Any) -> Logbook:
    """A log that is added to; unbuffered, so that nothing is missing after a crash."""
    stream = path.open("ab", buffering=0)
    path.chmod(0o600)
    return Logbook(stream, **bound)
