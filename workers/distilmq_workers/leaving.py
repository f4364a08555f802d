"""Ending a step process: in order where there is time, and in any case."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
from typing import NoReturn


def end_process(code: int, *, at_once: bool = False) -> NoReturn:
    """Ends this process without waiting for threads that the user's code left running.

    Args:
        code: to exit with.
        at_once: skips what libraries have registered to be called at the end.
    """
    if not at_once:
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]  # `sys.exit` would join threads first, for ever
        logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def end_within(seconds: float) -> None:
    """Ends this process after so many seconds if it has not ended by itself."""
    timer = threading.Timer(seconds, end_process, args=(0,), kwargs={"at_once": True})
    timer.daemon = True
    timer.start()
