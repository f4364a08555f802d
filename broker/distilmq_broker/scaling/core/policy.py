"""What the operator lets the scaler do."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.errors import DistilmqUserError


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """Bounds and times, in seconds.

    Raises:
        DistilmqUserError: the bounds leave nothing between them.
    """

    prefix: str
    """What the names of its workers begin with: no other worker is counted or told to leave."""
    least: int = 0
    most: int = 1
    idle: float = 60.0
    """How long a worker has had no process, and nothing is there that it could take, before it is told to leave."""
    cooldown: float = 5.0
    """Between launches of one round and the next."""
    join_within: float | None = None
    """A worker that was launched and has not joined after so long counts as failed; None where the launcher tells."""
    eager: bool = False
    """Launch for each process that a run wants, and not only for those that have batches waiting."""
    turn: float = 30.0
    """How long a need waits, when there are as many workers as there may be, before another kind makes room for it."""
    first_backoff: float = 5.0
    """After a launch that failed; twice as long after each further one."""
    longest_backoff: float = 300.0

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most or self.most < 1:
            raise DistilmqUserError(
                f"--min {self.least} and --max {self.most} make no sense: 0 <= min <= max, and max at least 1"
            )

    def backoff(self, failures: int) -> float:
        """How long to launch nothing after so many failures in a row."""
        return min(self.first_backoff * 2.0 ** min(failures - 1, 32), self.longest_backoff)
