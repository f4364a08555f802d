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
    turn_since: float | None = None
    """Since when it is its turn: one of its processes had loaded its steps then."""
    waiting_since: float | None = None
    """Since when it has had nothing that works, though it has work."""
    told: tuple[dict[str, int], tuple[Unmet, ...]] = ({}, ())
    """What its coordinator was told last."""
    _drops: int = 0
    _dropped: dict[str, int] = field(default_factory=lambda: dict[str, int]())
    """Need to the number of the last drop of one of its grants: whoever lost one last is next after all others."""

    def enlist(self, holding: Holding) -> None:
        """A grant is its own."""
        self.active.setdefault(holding.grant.need, {})[holding.grant.id] = holding

    def drop(self, holding: Holding) -> None:
        """A grant is not its own any more."""
        self.active.get(holding.grant.need, {}).pop(holding.grant.id, None)
        self._drops += 1
        self._dropped[holding.grant.need] = self._drops

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
        """The needs that are not met: first what nothing serves but could, then what was served least, or long ago."""
        lacking = [need for need in (self.needs or {}).values() if self.has(need.id) < need.count and not need.waits]
        return sorted(lacking, key=self._precedence)

    def _precedence(self, need: Need) -> tuple[bool, bool, int, int]:
        has = self.has(need.id)
        return has > 0, need.work == 0, has, self._dropped.get(need.id, 0)

    @property
    def working(self) -> int:
        """How many of its grants serve a need with something to do."""
        return sum(len(held) for name, held in self.active.items() if not self.idle(name))

    def idle(self, need: str) -> bool:
        """Whether processes of a need have nothing to do at the moment."""
        return (known := self.need(need)) is not None and known.work == 0

    def fed(self, need: str) -> bool:
        """Whether more comes to processes of a need that have nothing to do at the moment."""
        return (known := self.need(need)) is not None and known.fed

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

    def begin(self, now: float) -> None:
        """Notes which of its processes have loaded their steps; the oldest are taken to be the first."""
        for name, held in self.active.items():
            need = self.need(name)
            loading = [holding for holding in held.values() if holding.begun is None]
            ready = 0 if need is None else len(held) if need.ready is None else need.ready
            for holding in loading[: max(0, ready - len(held) + len(loading))]:
                holding.begun = now
        if self.turn_since is None and any(holding.begun is not None for holding in self.holdings()):
            self.turn_since = now

    def load(self, need: str) -> float:
        """Seconds that loading takes a process of a need."""
        return 0.0 if (known := self.need(need)) is None else known.load

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

    def refusing(self, need: str) -> list[str]:
        """The hosts that cannot serve a need."""
        return [worker for worker in self.unfit if self.refused_by(worker, need) is not None]

    def refused_by(self, worker: str, need: str) -> str | None:
        """Why a host cannot serve a need; None when it can."""
        refusals = self.unfit.get(worker, {})
        return refusals.get(need, refusals.get(""))
