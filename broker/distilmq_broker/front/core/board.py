"""What the parts of the allocation share: all hosts, all claims, and the grants between them."""

from __future__ import annotations

from collections.abc import Iterator

from distilmq.protocol.messages.broker import Grant
from distilmq.protocol.messages.slots import Need
from distilmq_broker.front.core.claims import Claim
from distilmq_broker.front.core.commands import TellHost, TellRun
from distilmq_broker.front.core.hosts import Holding, Host
from distilmq_broker.front.core.unmet import unmet


class Board:
    """Makes grants and takes them back, and knows who has to be told.

    Args:
        name: what ids begin with; another one in each life of the broker.
    """

    def __init__(self, name: str) -> None:
        self.hosts: dict[str, Host] = {}
        """By session."""
        self.claims: dict[str, Claim] = {}
        """By run."""
        self.with_slots: dict[str, Host] = {}
        """The hosts that have a free slot, by session."""
        self._by_name: dict[str, Host] = {}
        self._name = name
        self._count = 0
        self._lists = 0
        self._untold: dict[str, bool] = {}
        """Hosts that are to be told what they have, and whether that has changed."""

    def enlist(self, host: Host) -> None:
        """A host is there, under a name of its own."""
        self.hosts[host.session] = self._by_name[host.worker] = host
        self._look_for_slots(host)

    def named(self, worker: str) -> Host | None:
        """The host that goes by a name."""
        return self._by_name.get(worker)

    def grant(self, claim: Claim, need: Need, host: Host, now: float) -> None:
        """A run gets a slot."""
        self._count += 1
        grant = Grant(
            id=f"{self._name}{self._count}",
            run=claim.run,
            need=need.id,
            steps=need.steps,
            cpus=need.cpus,
            gpus=tuple(host.room.gpus[: need.gpus]),
            memory=need.memory,
            resources=need.resources,
        )
        kept = host.kept_for == (claim.run, need.id)
        if not kept and not claim.grants:
            claim.turn_since = None
        claim.enlist(host.add(grant, now))
        self._look_for_slots(host)
        self._untold[host.session] = True
        if kept:
            host.kept_for = None

    def adopt(self, host: Host, grant: Grant, now: float, *, settled: bool) -> None:
        """A host has a process that we do not know of: it came back, or we did."""
        holding = host.add(grant, now)
        holding.listed = True
        self._look_for_slots(host)
        if not settled:
            self.claims.setdefault(grant.run, Claim(grant.run))
        claim = self.claims.get(grant.run)
        if claim is None:
            holding.ending = True
            self._untold[host.session] = True
        else:
            claim.enlist(holding)

    def take_back(self, holding: Holding) -> None:
        """Its process is to finish what it has in hand, and end."""
        if not holding.ending:
            holding.ending = True
            holding.told = None
            self.claims[holding.grant.run].drop(holding)
            self._untold[holding.host.session] = True

    def remove(self, holding: Holding) -> None:
        """Its process is gone."""
        holding.host.remove(holding)
        self._look_for_slots(holding.host)
        if not holding.ending:
            self.claims[holding.grant.run].drop(holding)

    def forget_host(self, host: Host) -> None:
        """It is gone, and everything on it."""
        for holding in list(host.holdings.values()):
            self.remove(holding)
        del self.hosts[host.session]
        del self._by_name[host.worker]
        self.with_slots.pop(host.session, None)
        self._untold.pop(host.session, None)

    def forget_run(self, run: str) -> None:
        """It needs nothing any more."""
        claim = self.claims.get(run)
        for holding in claim.holdings() if claim is not None else ():
            self.take_back(holding)
        self.claims.pop(run, None)

    def list_heard(self, heard: str) -> int:
        """The number of the last list that a host has got; 0 for one of an earlier life of the broker."""
        number = heard.removeprefix(self._name)
        return int(number) if heard.startswith(self._name) and number.isdecimal() else 0

    def repeat(self, host: Host) -> None:
        """Has a host told again what it has."""
        self._untold.setdefault(host.session, False)

    def tell_hosts(self, now: float) -> Iterator[TellHost]:
        """To those for whom something has changed, or may be lost."""
        for session, changed in self._untold.items():
            host = self.hosts[session]
            host.told_at = now
            if changed or not host.last_list:
                self._lists += 1
                host.last_list = self._lists
            for holding in host.holdings.values():
                if holding.told is None:
                    holding.told = host.last_list
            yield TellHost(session, f"{self._name}{host.last_list}", host.grants(), host.worker)
        self._untold.clear()

    def tell_runs(self) -> Iterator[TellRun]:
        """To those for whom something has changed."""
        for claim in self.claims.values():
            told = (claim.counts(), tuple(unmet(claim, need, self.hosts.values()) for need in claim.lacking))
            if told != claim.told:
                claim.told = told
                yield TellRun(claim.run, *told)

    def _look_for_slots(self, host: Host) -> None:
        if host.room.slots < 1:
            self.with_slots.pop(host.session, None)
        else:
            self.with_slots[host.session] = host
