"""Log records of steps on their way to the run's log and the user's terminal."""

from __future__ import annotations

import logging
from typing import Literal

from distilmq.protocol.messages import Note
from distilmq_workers.events import Said
from distilmq_workers.outbox import Outbox

Level = Literal["debug", "info", "warning", "error"]


class NoteHandler(logging.Handler):
    """Sends what steps and models log, as notes of their step."""

    def __init__(self, session: str, outbox: Outbox) -> None:
        super().__init__()
        self._session = session
        self._outbox = outbox
        self.step = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one record."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        note = Note(session=self._session, step=self.step, level=_level(record.levelno), event="logged", text=text)
        self._outbox.put(Said(note))


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
