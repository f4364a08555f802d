"""Which slot of which host serves which run: needs are matched to offers, in turn, by weight.

Laws: no host has more grants than slots, nor more cpus, memory or resources granted than it offers; no gpu is in two
grants; neither a run with a need that fits on a host starves, nor a need of a run that has others; a process is not
taken away while it has work, but to give a need or a run that has none its first, when its turn is over (a run's last
one, or a need's), and then by draining it; a turn begins when its steps are loaded, and is the longer the longer that
took.

A grant that is taken back keeps its room until its host does not name it any more: its process finishes what it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from distilmq.protocol.messages.broker import Grant
from distilmq.protocol.messages.slots import Need
from distilmq_broker.front.core.board import Board
from distilmq_broker.front.core.choice import Choice
from distilmq_broker.front.core.claims import Claim
from distilmq_broker.front.core.commands import AskWho, Command
from distilmq_broker.front.core.events import (
    DeadlineReached,
    Event,
    HostBeaten,
    HostJoined,
    HostLeft,
    HostUnfit,
    NeedsTold,
    RunGone,
)
from distilmq_broker.front.core.hosts import Host
from distilmq_broker.front.core.roll import Roll
from distilmq_broker.front.core.turns import Turns


class Allocation:
    """All hosts, all needs, and the grants between them. Decides everything and does nothing itself.

    Args:
        liveness: seconds without a beat after which a host counts as lost.
        settling: seconds after the start (and after a restart above all) in which nothing new is granted: runs may
            still have processes on hosts which have not come back. What hosts say they have is believed meanwhile,
            even if its run has not spoken yet.
        name: what the ids of grants begin with; another one in each life of the broker.
    """

    def __init__(self, *, liveness: float, settling: float = 0.0, name: str = "") -> None:
        self._settling = settling
        self._settled_at: float | None = None
        """None once it has settled."""
        self._board = Board(name)
        self._roll = Roll(self._board, liveness)
        self._turns = Turns(self._board)

    def start(self, now: float) -> None:
        """The broker begins."""
        self._settled_at = now + self._settling

    def handle(self, event: Event, now: float) -> list[Command]:
        """What follows from an event."""
        commands: list[Command] = []
        match event:
            case HostJoined():
                commands += self._roll.joined(event, now, settled=self._settled_at is None)
            case HostBeaten():
                changed = self._roll.beaten(event, now)
                if changed is None:
                    return [AskWho(event.session)]
                if not changed:
                    return list(self._board.tell_hosts(now))
            case HostLeft(session=session):
                self._roll.left(session)
            case NeedsTold():
                if not self._needs_told(event):
                    return []
            case HostUnfit():
                self._host_unfit(event)
            case RunGone(run=run):
                self._board.forget_run(run)
            case DeadlineReached():
                commands += self._roll.lose_silent(now)
        self._decide(now)
        return [*commands, *self._board.tell_hosts(now), *self._board.tell_runs()]

    def next_deadline(self) -> float | None:
        """When to say `DeadlineReached`."""
        deadlines = (self._roll.look_at, self._turns.next_at, self._settled_at)
        return min((at for at in deadlines if at is not None), default=None)

    def grants_of(self, session: str) -> Sequence[Grant]:
        """What a host has, or is to have."""
        host = self._board.hosts.get(session)
        return () if host is None else host.grants()

    def session_named(self, worker: str) -> str | None:
        """The session of the host that goes by a name."""
        host = self._board.named(worker)
        return None if host is None else host.session

    def hosts(self) -> Iterable[Host]:
        """Those that are there."""
        return self._board.hosts.values()

    def needs(self) -> Iterator[tuple[str, Need, int, list[str]]]:
        """What runs need: run, need, how many grants serve it, and the hosts that cannot."""
        for claim in self._board.claims.values():
            for need in (claim.needs or {}).values():
                yield claim.run, need, claim.has(need.id), claim.refusing(need.id)

    def processes(self, run: str) -> int:
        """How many grants a run has."""
        claim = self._board.claims.get(run)
        return 0 if claim is None else claim.grants

    def refusals(self, run: str) -> list[tuple[str, str, str]]:
        """Hosts that cannot serve a run: worker, need (empty for all of them), and why."""
        claim = self._board.claims.get(run)
        unfit = {} if claim is None else claim.unfit
        return [(worker, need, reason) for worker, needs in unfit.items() for need, reason in needs.items()]

    # ---------------------------------------------------------------- events

    def _needs_told(self, event: NeedsTold) -> bool:
        claim = self._board.claims.setdefault(event.run, Claim(event.run))
        needs = {need.id: need for need in event.needs}
        changed = (claim.needs, claim.weight) != (needs, event.weight)
        claim.needs, claim.weight = needs, max(event.weight, 1e-6)
        return changed

    def _host_unfit(self, event: HostUnfit) -> None:
        claim = self._board.claims.setdefault(event.run, Claim(event.run))
        claim.unfit.setdefault(event.worker, {})[event.need] = event.reason
        for holding in claim.holdings():
            if holding.host.worker == event.worker and event.need in {"", holding.grant.need}:
                self._board.take_back(holding)

    # ---------------------------------------------------------------- decisions

    def _decide(self, now: float) -> None:
        if self._settled_at is not None and now >= self._settled_at:
            self._settled_at = None
            for claim in self._board.claims.values():
                # A run that has not spoken by now needs nothing, until it does.
                claim.needs = claim.needs or {}
        for claim in self._board.claims.values():
            self._take_surplus(claim)
            claim.look(now)
        self._turns.release_rooms()
        if self._settled_at is None:
            self._place(now)
        for claim in self._board.claims.values():
            claim.begin(now)
        if self._settled_at is None:
            self._turns.make_room(now)

    def _take_surplus(self, claim: Claim) -> None:
        """What a run does not need any more; of several the newest first, which has the least to forget."""
        for name, held in claim.active.items() if claim.needs is not None else ():
            need = claim.need(name)
            surplus = len(held) - (0 if need is None else need.count)
            for holding in list(held.values())[::-1][: max(0, surplus)]:
                self._board.take_back(holding)

    def _place(self, now: float) -> None:
        """Grants free slots one by one: each to the run that would have the least for its weight."""
        waiting = {claim.run: claim for claim in self._board.claims.values()}
        choices: dict[tuple[str, str], Choice] = {}
        while waiting:
            claim = min(waiting.values(), key=lambda claim: claim.turn(1))
            for need in claim.lacking:
                if (choice := choices.get((claim.run, need.id))) is None:
                    choice = choices[claim.run, need.id] = Choice(self._board, self._turns, claim, need)
                if (host := choice.best()) is not None:
                    self._board.grant(claim, need, host, now)
                    break
            else:
                del waiting[claim.run]
