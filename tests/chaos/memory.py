"""What long-lived processes take of memory while a run goes on: the last third of their lives against the first."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from pathlib import Path

GROWN_UP = 5.0
"""Seconds of a process's life that are not looked at: it is still importing."""
LEAST = 30
"""Looks at a process without which its thirds say nothing."""
EVERY = 0.2
"""Seconds between two looks."""


class Memory:
    """Looks at processes now and then, by what they are."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], list[float]] = defaultdict(list)
        self._since: dict[int, float] = {}
        self._look_at = 0.0

    def look(self, processes: dict[int, str]) -> None:
        """Notes what each takes, where a look is due.

        Args:
            processes: process id to what it is.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + EVERY
        for pid, what in processes.items():
            if now >= self._since.setdefault(pid, now) + GROWN_UP and (taken := _anonymous(pid)):
                self._seen[what, pid].append(taken)

    @property
    def growth(self) -> dict[str, float]:
        """What processes are to how much more the one that grew most took in its last third than in its first."""
        grown: dict[str, float] = {}
        for (what, _), seen in self._seen.items():
            if len(seen) >= LEAST:
                third = len(seen) // 3
                ratio = statistics.median(seen[-third:]) / statistics.median(seen[:third])
                grown[what] = round(max(grown.get(what, 0.0), ratio), 3)
        return grown


def _anonymous(pid: int) -> float:
    """Megabytes of a process that are in no file; 0 for one that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(found[0].split()[1]) / 1024 if found else 0.0
