"""What one run needs and has, and how its turn compares with that of others."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from distilmq.protocol.messages.runs import Unmet
from distilmq.protocol.messages.slots import Need
from distilmq_broker.front.core.hosts import Holding, Host


@dataclass(slots=True, eq=False)
class Claim:
    """One run. Invariant: `active` are the holdings of the run that were not taken back, by need."""

    run: str
    needs: dict[str, Need] | None = None
    """None until its coordinator has spoken: a run of before a restart, which has processes on hosts."""
    weight: float = 1.0
    active: dict[str, dict[str, Holding]] = field(default_factory=lambda: dict[str, dict[str, Holding]]())
    unfit: dict[str, dict[str, str]] = field(default_factory=lambda: dict[str, dict[str, str]]())
    """Host to need to why it cannot load it; the need "" stands for all."""
    waiting_since: float | None = None
    """Since when it has had nothing that works, though it has work."""
    told: tuple[dict[str, int], tuple[Unmet, ...]] = ({}, ())
    """What its coordinator was told last."""

    def enlist(self, holding: Holding) -> None:
        """A grant is its own."""
        self.active.setdefault(holding.grant.need, {})[holding.grant.id] = holding

    def drop(self, holding: Holding) -> None:
        """A grant is not its own any more."""
        self.active.get(holding.grant.need, {}).pop(holding.grant.id, None)

    def holdings(self) -> list[Holding]:
        """All of them."""
        return [holding for held in self.active.values() for holding in held.values()]

    def need(self, name: str) -> Need | None:
        """The need of that name, if it is still one."""
        return (self.needs or {}).get(name)

    def has(self, need: str) -> int:
        """How many grants serve a need."""
        return len(self.active.get(need, ()))

    @property
    def grants(self) -> int:
        """How many it has in all."""
        return sum(len(held) for held in self.active.values())

    @property
    def lacking(self) -> list[Need]:
        """The needs that are not met, those first that nothing serves but could, then those served least."""
        lacking = [need for need in (self.needs or {}).values() if self.has(need.id) < need.count and not need.waits]
        return sorted(lacking, key=lambda need: (self.has(need.id) > 0, need.work == 0, self.has(need.id)))

    @property
    def working(self) -> int:
        """How many of its grants serve a need with something to do."""
        return sum(len(held) for name, held in self.active.items() if not self.idle(name))

    def idle(self, need: str) -> bool:
        """Whether processes of a need have nothing to do at the moment."""
        return (known := self.need(need)) is not None and known.work == 0

    @property
    def starving(self) -> list[Need]:
        """The needs with work that nothing serves."""
        return [need for need in self.lacking if need.work and not self.has(need.id)]

    def look(self, now: float) -> None:
        """Notes whether it waits."""
        if self.working or not self.starving:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = now

    def turn(self, more: int = 0) -> tuple[float, float]:
        """Whose is the least is next: by what it has, or would have with some more; then by how long it has waited."""
        return self.share(more), math.inf if self.waiting_since is None else self.waiting_since

    def share(self, more: int = 0) -> float:
        """Grants per weight: who has least is next."""
        return (self.grants + more) / self.weight

    def counts(self) -> dict[str, int]:
        """Grants by need, of those that there are."""
        return {name: len(held) for name, held in self.active.items() if held}

    def may_have(self, host: Host, need: Need) -> bool:
        """Whether a process fits on a host when nothing else is there, and can be loaded there."""
        return self.refused_by(host.worker, need.id) is None and host.suits(need)

    def refused_by(self, worker: str, need: str) -> str | None:
        """Why a host cannot serve a need; None when it can."""
        refusals = self.unfit.get(worker, {})
        return refusals.get(need, refusals.get(""))
