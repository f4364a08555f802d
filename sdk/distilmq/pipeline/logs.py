"""Where what is logged during a run goes: the caller's handlers, and the screen when nobody else listens."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress


class ScreenHandler(logging.Handler):
    """Writes to the standard error of the moment, which a live view puts another in place of."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line; nobody reads it when the terminal is gone."""
        with suppress(OSError):
            print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def run_logging(handlers: Iterable[logging.Handler], level: str) -> Generator[None]:
    """Inside, records of distilmq from this level on reach the handlers; outside, all is as it was before."""
    logger = logging.getLogger("distilmq")
    added = [handler for handler in handlers if handler not in logger.handlers]
    if not logger.hasHandlers():
        screen = ScreenHandler()
        screen.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        added.append(screen)
    before = logger.level
    for handler in added:
        logger.addHandler(handler)
    if before == logging.NOTSET:
        logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
        for handler in added:
            logger.removeHandler(handler)
