"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


PATIENCE = 60.0
"""Seconds for what takes less than one where nothing else runs: a machine may be busy."""


def until(condition: Callable[[], T], what: str = "it never came to that", seconds: float = PATIENCE) -> T:
    """Polls until the condition holds; fails loudly when it does not come true.

    Args:
        condition: what must come true.
        what: that is, in words.
        seconds: after which it fails.

    Returns:
        what came true.
    """
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.01)
