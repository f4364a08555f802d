"""An autoscaler over a real allocation: what it launches joins or fails, what it drains leaves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from distilmq.protocol.messages.slots import HostShown, Need, NeedShown
from distilmq_broker.front.core.events import NeedsTold
from distilmq_broker.front.demand_desk import shown_host, shown_needs
from distilmq_broker.scaling.core.autoscaler import Autoscaler
from distilmq_broker.scaling.core.commands import Cancel, Command, Drain, Launch, TellUnserved
from distilmq_broker.scaling.core.events import DemandSeen, LaunchFailed
from distilmq_broker.scaling.core.kinds import Kind, KindFor
from distilmq_broker.scaling.core.policy import ScalingPolicy
from tests.broker.front.core.hosting import LIVENESS, World

BEAT = LIVENESS / 3
"""Seconds between two beats of what is there, at most: nobody counts as lost."""


class ScaledWorld:
    """Both; a broker of which an autoscaler is told whatever it asks.

    Args:
        policy: of the autoscaler.
        kind_for: of the launcher.
    """

    def __init__(self, policy: ScalingPolicy, kind_for: KindFor) -> None:
        self.policy = policy
        self.world = World()
        numbers = itertools.count(1)
        self.scaler = Autoscaler(policy, kind_for=kind_for, new_name=lambda: f"{policy.prefix}-{next(numbers)}")
        self.coming: dict[str, Kind] = {}
        self.needs: dict[str, tuple[Need, ...]] = {}
        self.unserved: list[tuple[str, str]] = []
        self.launches: list[str] = []
        self.joins: Callable[[Kind], bool] = lambda _: True
        """Whether a worker of some kind ever joins: a cluster may have no place for it."""
        self.takes: Callable[[Kind], float] = lambda _: 0.0
        """Seconds from its launch until it joins."""
        self._launched_at: dict[str, float] = {}
        self.told: set[str] = set()
        """Who was told to leave."""

    def ask(self, run: str, needs: Sequence[Need]) -> None:
        """A run needs this now, and nothing else."""
        self.needs[run] = tuple(needs)
        self.world.handle(NeedsTold(run, tuple(needs)))

    def look(self) -> list[Command]:
        """The autoscaler sees how it stands, and its commands are carried out."""
        before = self.ours()
        for name in self.scaler.awaited:
            if name not in self.coming and not any(host.worker == f"{name}-1" for host in before):
                # It came and went before anybody looked.
                self.scaler.handle(LaunchFailed(name), self.world.now)
        commands = self.scaler.handle(DemandSeen(self.seen_needs(), self.seen_hosts()), self.world.now)
        for command in commands:
            match command:
                case Launch(name, kind):
                    self.coming[name] = kind
                    self._launched_at[name] = self.world.now
                    self.launches.append(name)
                case Cancel(name):
                    del self.coming[name]
                case Drain(worker):
                    self._drain(worker)
                case TellUnserved(run, need):
                    self.unserved.append((run, need.id))
        assert len(self.ours()) + len(self.coming) <= self.policy.most, "no more than the most"
        assert set(self.scaler.awaited) <= set(self.coming)
        return commands

    def join(self, name: str) -> None:
        """One that was launched is there."""
        kind = self.coming.pop(name)
        self.world.join(f"{name}-1", kind.offer, kind.steps)

    def fail(self, name: str) -> None:
        """One that was launched will never be there."""
        del self.coming[name]
        self.scaler.handle(LaunchFailed(name), self.world.now)

    def pass_time(self, seconds: float) -> None:
        """All that is there beats, obeys and ends what it has to; who is told to leave does, when it has nothing."""
        beats = math.ceil(seconds / BEAT)
        self.world.settle(beats, apart=seconds / beats)
        for host in list(self.world.hosts.values()):
            if host.leaving and not host.processes:
                self.world.leave(host)

    def live(self, seconds: float, *, joining: bool = True) -> list[Command]:
        """Looks every second; what is launched joins when its time has come, where it joins at all."""
        commands: list[Command] = []
        for _ in range(int(seconds)):
            commands += self.look()
            for name in [name for name in self.coming if joining and self._is_due(name)]:
                self.join(name)
            self.pass_time(1.0)
        return commands

    def ours(self) -> list[HostShown]:
        """The hosts that it has launched."""
        return [host for host in self.seen_hosts() if host.worker.startswith(f"{self.policy.prefix}-")]

    def seen_hosts(self) -> tuple[HostShown, ...]:
        """As the broker tells of them."""
        return tuple(shown_host(host, "") for host in self.world.allocation.hosts())

    def seen_needs(self) -> tuple[NeedShown, ...]:
        """As the broker tells of them."""
        return shown_needs(self.world.allocation)

    def served(self) -> set[tuple[str, str]]:
        """Run and need of every process."""
        return {(grant.run, grant.need) for host in self.world.hosts.values() for grant in host.processes.values()}

    def has_use(self, key: tuple[str, str]) -> bool:
        """Whether a worker is there, and stays, on which a need fits."""
        needs = [shown for shown in self.seen_needs() if (shown.run, shown.need.id) == key]
        hosts = [host for host in self.seen_hosts() if self._stays(host)]
        return any(
            Kind(host.offer, host.steps).suits(shown.need) and host.worker not in shown.refused_by
            for host in hosts
            for shown in needs
        )

    def _is_due(self, name: str) -> bool:
        kind = self.coming[name]
        return self.joins(kind) and self.world.now >= self._launched_at[name] + self.takes(kind)

    def _drain(self, worker: str) -> None:
        host = next(host for host in self.ours() if host.worker == worker)
        # One that is told again may be there no more: the broker lists it until it has been silent for long.
        if worker not in self.told:
            staying = [other for other in self.ours() if self._stays(other)]
            if len(staying) <= self.policy.least:
                assert self.policy.least == self.policy.most, "no fewer than the least"
            if len(staying) <= self.policy.least or host.processes:
                assert self._makes_room(), "who works, or is one of the least, is told to leave but to make room"
        self.told.add(worker)
        if worker in self.world.hosts:
            self.world.hosts[worker].leaving = True

    def _stays(self, host: HostShown) -> bool:
        return not host.leaving and host.worker not in self.told

    def _makes_room(self) -> bool:
        """Whether a need has work, and no worker that is there or coming could take it."""
        return any(
            shown.need.work
            and shown.need.count
            and not shown.processes
            and not self.has_use((shown.run, shown.need.id))
            and not any(kind.suits(shown.need) for kind in self.coming.values())
            for shown in self.seen_needs()
        )
