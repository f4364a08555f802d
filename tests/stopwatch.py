"""Seconds on a machine that may be busy.

That something is prompt can be seen by the clock only where nobody has to wait for a processor. The kernel counts for
how long somebody did (its "pressure"), and those seconds are left out: what sleeps, hangs or waits for a time-out is
seen on a busy machine as on an idle one, and what is slow only since others run as well is not.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

_PRESSURE = Path("/proc/pressure/cpu")


def undisturbed() -> float:
    """Monotonic seconds, without those in which somebody waited for a processor."""
    return time.monotonic() - _waited()


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._began = undisturbed()

    @property
    def seconds(self) -> float:
        """How long it has run undisturbed."""
        return undisturbed() - self._began


def _waited() -> float:
    """Seconds since the machine started; none where the kernel does not count them."""
    with contextlib.suppress(OSError):
        some, *_ = _PRESSURE.read_text().splitlines()
        return int(some.rpartition("total=")[2]) / 1e6
    return 0.0
