"""The clocks of this machine."""

from __future__ import annotations

import time


class SystemClock:
    """See `ports.Clock`."""

    def monotonic(self) -> float:
        """For deadlines."""
        return time.monotonic()

    def wall(self) -> float:
        """For what is recorded."""
        return time.time()
