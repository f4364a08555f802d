"""Who was lent something: what it asked for last, and whether it will still be heard of."""

from __future__ import annotations

from dataclasses import dataclass, field

from distilmq_broker.core.outstanding import Outstanding


@dataclass(slots=True, eq=False)
class Debtor:
    """One model of a process that has, or had, a share."""

    wanted: int
    """Requests that are out or wait."""
    out: int
    until: float = field(default=0.0, kw_only=True)
    """When its last loan is over."""
    silent: bool = field(default=False, kw_only=True)
    """That is over, and it did not ask again: frozen, cut off or dead."""
    gone: bool = field(default=False, kw_only=True)
    """It will not ask again."""

    @property
    def weight(self) -> int:
        """How much it counts where something is shared out: one that wants nothing keeps a little to begin with."""
        return 0 if self.silent else max(1, self.wanted)

    def places(self, loans: Outstanding) -> int:
        """What it takes of all places: one is taken until its request is over, whatever is lent by then."""
        return max(int(loans.most("places")), self.out)
