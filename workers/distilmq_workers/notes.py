"""Log records of steps on their way to the run's log and the user's terminal."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Literal

from distilmq.constants import LOG_LEVEL_ENV_NAME
from distilmq.protocol.messages import Note

Level = Literal["debug", "info", "warning", "error"]


class NoteHandler(logging.Handler):
    """Sends what steps and models log, as notes of their step."""

    def __init__(self, session: str, step: str, say: Callable[[Note], None]) -> None:
        super().__init__()
        self._session = session
        self._step = step
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one record."""
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001  # the user's own arguments and their texts: logging shows what is wrong
            self.handleError(record)
            return
        self._say(Note(session=self._session, step=self._step, level=_level(record.levelno), event="logged", text=text))


def send_logs_as_notes(session: str, step: str, say: Callable[[Note], None]) -> None:
    """From here on, what the loggers of distilmq log goes to the coordinator."""
    log = logging.getLogger("distilmq")
    log.addHandler(NoteHandler(session, step, say))
    levels = logging.getLevelNamesMapping()
    log.setLevel(levels.get(os.environ.get(LOG_LEVEL_ENV_NAME, "INFO").upper(), logging.INFO))


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
