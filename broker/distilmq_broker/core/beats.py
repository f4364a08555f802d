"""How often who is there says so: the more there are, the more rarely, so that beats stay a small part of the work."""

from __future__ import annotations

OFTEN = 1.0
"""Seconds between beats, where the liveness allows as much."""
MOST = 100.0
"""Beats a second that are asked for in all."""
MISSED = 3
"""So many beats at least may be lost before who sent them counts as lost."""


def beat_interval(peers: int, liveness: float, often: float | None = None) -> float:
    """Seconds between two beats of each of so many peers.

    Args:
        peers: how many there are.
        liveness: seconds without a beat after which one counts as lost.
        often: seconds where there are few; a third of the liveness, and one second at most, if it is not given.
    """
    rarely = liveness / MISSED
    if often is None:
        often = min(OFTEN, rarely)
    return max(often, min(peers / MOST, rarely))
