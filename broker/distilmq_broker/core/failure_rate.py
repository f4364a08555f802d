"""How large a share of a step's last rows failed, and whether that is more than its user wants to go on with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from distilmq.protocol.messages import RowFailure
from distilmq_broker.core import policy

_RATE_LIMITED = "RateLimitedError"


@dataclass(slots=True)
class FailureRate:
    """A window over the last rows of a step, in the order in which they came.

    Few rows say little: fewer than `policy.FEWEST_ROWS` are judged as if the others of them had been good.
    """

    allowed: float
    """Share of the rows that may fail."""
    _window: deque[bool] = field(default_factory=lambda: deque[bool](maxlen=policy.FAILURE_WINDOW))
    """Of each row whether it failed."""
    _failed: int = 0

    def add(self, rows: int, failures: Iterable[RowFailure]) -> str | None:
        """Counts a batch; rows that only met a rate limit say nothing about the step, so they are left out.

        Returns:
            What there is to say when too many have failed, at the worst point; None otherwise.
        """
        by_row = {failure.row: failure for failure in failures}
        worst: str | None = None
        for row in range(max(rows, *(row + 1 for row in by_row), 0) if by_row else rows):
            failure = by_row.get(row)
            if failure is not None and failure.error.type == _RATE_LIMITED:
                continue
            self._count(failed=failure is not None)
            if worst is None and failure is not None and self.exceeded:
                worst = self._told(failure)
        return worst

    @property
    def exceeded(self) -> bool:
        """Whether more failed than is allowed."""
        return self._failed > self.allowed * max(len(self._window), policy.FEWEST_ROWS)

    def forget(self) -> None:
        """The user goes on: rows count anew."""
        self._window.clear()
        self._failed = 0

    def _count(self, *, failed: bool) -> None:
        if len(self._window) == self._window.maxlen:
            self._failed -= self._window[0]
        self._window.append(failed)
        self._failed += failed

    def _told(self, failure: RowFailure) -> str:
        error = failure.error
        words = error.message.strip().splitlines()
        last = f"{error.type}: {words[0]}"[: policy.SHOWN_REASON] if words else error.type
        return (
            f"{self._failed} of its last {len(self._window)} rows failed, and max_failure_rate is {self.allowed:g};"
            f" the last with {last}"
        )
