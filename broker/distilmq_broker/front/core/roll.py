"""Hosts come, beat, are silent and leave: what each of that means for the grants that they have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from distilmq_broker.front.core.board import Board
from distilmq_broker.front.core.commands import LoseHost
from distilmq_broker.front.core.events import HostBeaten, HostJoined
from distilmq_broker.front.core.hosts import Host

SPOKEN_TO = 0.3
"""Share of the liveness after which a host is told again what it has: so it knows that the broker is there."""
_ENOUGH = 6
"""Characters of its session that tell a host from others of its name."""


class Roll:
    """Keeps the list of hosts true.

    Args:
        board: what there is.
        liveness: seconds without a beat after which a host counts as lost.
    """

    def __init__(self, board: Board, liveness: float) -> None:
        self._board = board
        self._liveness = liveness
        self.look_at: float | None = None
        """When a host may have been silent for too long: never too late, at times too early."""

    def joined(self, event: HostJoined, now: float, *, settled: bool) -> list[LoseHost]:
        """A host said Hello; before the broker has settled, what it has is believed whatever the run."""
        # A host that was started again under its name has none of its former processes.
        former = self._board.hosts.get(event.follows)
        if former is not None:
            self._board.forget_host(former)
        host = self._board.hosts.get(event.session)
        if host is None:
            host = Host(self._name_for(event), event.session, event.offer, event.steps, now)
            self._board.enlist(host)
            for claim in self._board.claims.values():
                # It was started anew, maybe with what a step lacked.
                claim.unfit.pop(host.worker, None)
        host.seen = now
        if self.look_at is None:
            self.look_at = now + self._liveness
        self._compare(host, [grant.id for grant in event.grants], event.heard, now)
        for grant in event.grants:
            if grant.id not in host.holdings:
                self._board.adopt(host, grant, now, settled=settled)
        self._board.repeat(host)
        return [] if former is None else _lost([former])

    def _name_for(self, event: HostJoined) -> str:
        """The name it gave; one of its own where another host goes by that, and both are here."""
        if self._board.named(event.worker) is None:
            return event.worker
        return f"{event.worker}-{event.session[:_ENOUGH]}"

    def beaten(self, event: HostBeaten, now: float) -> bool | None:
        """A host is alive; tells whether that changed anything, and None of one that has to say Hello."""
        host = self._board.hosts.get(event.session)
        if host is None or any(grant not in host.holdings for grant in event.grants):
            return None
        host.seen = now
        changed = self._compare(host, event.grants, event.heard, now)
        if event.leaving and not host.leaving:
            host.leaving = changed = True
            for holding in list(host.holdings.values()):
                self._board.take_back(holding)
        return changed

    def left(self, session: str) -> None:
        """A host said Bye."""
        host = self._board.hosts.get(session)
        if host is not None:
            self._board.forget_host(host)

    def lose_silent(self, now: float) -> list[LoseHost]:
        """Gives up on hosts that were silent for too long."""
        silent = [host for host in self._board.hosts.values() if now >= host.seen + self._liveness]
        for host in silent:
            self._board.forget_host(host)
        first = min((host.seen for host in self._board.hosts.values()), default=None)
        self.look_at = None if first is None else first + self._liveness
        return _lost(silent)

    def _compare(self, host: Host, listed: Sequence[str], heard: str, now: float) -> bool:
        """Holds what a host says it has against what it was told; tells whether room came free."""
        heard_of = self._board.list_heard(heard)
        freed = False
        for holding in list(host.holdings.values()):
            if holding.grant.id in listed:
                holding.listed = True
            elif holding.listed or (holding.told is not None and holding.told <= heard_of):
                self._board.remove(holding)
                freed = True
        if heard_of != host.last_list or now >= host.told_at + self._liveness * SPOKEN_TO:
            self._board.repeat(host)
        return freed


def _lost(hosts: Iterable[Host]) -> list[LoseHost]:
    return [LoseHost(host.session, host.worker) for host in hosts]
