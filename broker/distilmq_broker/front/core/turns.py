"""A need that nothing serves, though there is work for it, gets a slot of who has several, or had its turn."""

from __future__ import annotations

from distilmq.protocol.messages.slots import Need
from distilmq_broker.front.core.board import Board
from distilmq_broker.front.core.claims import Claim
from distilmq_broker.front.core.hosts import Holding, Host

TURN = 30.0
"""Seconds that a run keeps its last slot, at least, while another one has none."""
OWN_TURN = 10.0
"""Seconds that a need keeps its last slot, at least, while another one of its run has none."""
LOADS = 5.0
"""Turns last as many times as long as loading took, so that models are not loaded for nothing."""
LOADING = 1800.0
"""Seconds after which a process that still loads may be taken for one that never will have loaded."""


class Turns:
    """Takes slots back, and keeps the room that becomes free for whom they were taken."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.next_at: float | None = None
        """When somebody who waits may get the last slot of another."""

    def make_room(self, now: float) -> None:
        """Takes back what is fair, where the fewest have to go."""
        self.next_at = None
        for claim in sorted(self._board.claims.values(), key=lambda claim: claim.turn()[1]):
            unserved = [need for need in claim.starving if not self._is_kept(claim, need)]
            if claim.working:
                served = [self._keep(claim, need, now) for need in unserved]
            else:
                # One that has nothing yet takes no more than its first from others.
                served = [unserved != claim.starving or any(self._keep(claim, need, now) for need in unserved)]
            if not all(served):
                self._wait_for_turn(now)

    def release_rooms(self) -> None:
        """Room is kept only for those who still want it, and only where it is becoming free."""
        for host in self._board.hosts.values():
            if host.kept_for is not None and not self._is_of_use(host, *host.kept_for):
                host.kept_for = None

    def kept_beside(self, host: Host, claim: Claim, need: Need) -> Need | None:
        """What else has to fit on a host, because room is kept there for it."""
        if host.kept_for is None or host.kept_for == (claim.run, need.id):
            return None
        other = self._board.claims.get(host.kept_for[0])
        return None if other is None else other.need(host.kept_for[1])

    def _is_of_use(self, host: Host, run: str, name: str) -> bool:
        claim = self._board.claims.get(run)
        need = None if claim is None or claim.has(name) else claim.need(name)
        if claim is None or need is None or need.waits or not need.work or host.leaving:
            return False
        return claim.may_have(host, need) and host.coming_room().fits(need)

    def _is_kept(self, claim: Claim, need: Need) -> bool:
        return any(host.kept_for == (claim.run, need.id) for host in self._board.hosts.values())

    def _keep(self, claim: Claim, need: Need, now: float) -> bool:
        best: tuple[Host, list[Holding]] | None = None
        for host in self._board.hosts.values():
            if host.leaving or host.kept_for is not None or not claim.may_have(host, need):
                continue
            found = self._victims(host, claim, need, now)
            if found is not None and (best is None or len(found) < len(best[1])):
                best = (host, found)
        if best is None:
            return False
        host, found = best
        host.kept_for = (claim.run, need.id)
        if not claim.grants and any(holding.grant.run != claim.run for holding in found):
            claim.turn_since = None
        for holding in found:
            self._board.take_back(holding)
        return True

    def _victims(self, host: Host, claim: Claim, need: Need, now: float) -> list[Holding] | None:
        """What of a host to take back, so that a process fits there; None when that would not do, or not be fair."""
        room = host.coming_room()
        taken: list[Holding] = []
        held = [holding for holding in host.holdings.values() if not holding.ending]
        for holding in sorted(held, key=self._dearness):
            if room.fits(need):
                break
            if self._may_go(holding, claim, taken, now):
                room.give(holding.grant)
                taken.append(holding)
        return taken if room.fits(need) else None

    def _dearness(self, holding: Holding) -> tuple[bool, bool, float, int, float]:
        """What is idle goes first, then what belongs to who has most, then what has most beside it, then the newest."""
        owner = self._board.claims[holding.grant.run]
        need = holding.grant.need
        return not owner.idle(need), owner.fed(need), -owner.share(), -owner.has(need), -holding.since

    def _may_go(self, holding: Holding, claim: Claim, taken: list[Holding], now: float) -> bool:
        owner = self._board.claims[holding.grant.run]
        if owner is claim:
            return self._may_go_to_its_own(holding, claim, taken, now)
        if claim.working:
            return False
        idle = owner.idle(holding.grant.need)
        if idle and not owner.fed(holding.grant.need):
            return True
        gone = [other for other in taken if other.grant.run == owner.run]
        if idle:
            spare = owner.grants - len(gone)
        else:
            spare = owner.working - sum(not owner.idle(other.grant.need) for other in gone)
        return spare > 1 or now >= self._turn_of_run(owner, holding)

    def _may_go_to_its_own(self, holding: Holding, claim: Claim, taken: list[Holding], now: float) -> bool:
        name = holding.grant.need
        if claim.idle(name):
            return not claim.fed(name) or now >= self._turn_of_need(claim, holding)
        gone = sum((other.grant.run, other.grant.need) == (claim.run, name) for other in taken)
        return claim.has(name) - gone > 1 or now >= self._turn_of_need(claim, holding)

    def _turn_of_run(self, owner: Claim, holding: Holding) -> float:
        """When a run's turn is over, where a process may be its last."""
        if holding.begun is None or owner.turn_since is None:
            return holding.since + LOADING
        return owner.turn_since + max(TURN, LOADS * owner.load(holding.grant.need))

    def _turn_of_need(self, owner: Claim, holding: Holding) -> float:
        """When a need's turn is over, where a process may be its last."""
        if holding.begun is None:
            return holding.since + LOADING
        return holding.begun + max(OWN_TURN, LOADS * owner.load(holding.grant.need))

    def _wait_for_turn(self, now: float) -> None:
        turns = [] if self.next_at is None else [self.next_at]
        for owner in self._board.claims.values():
            for holding in owner.holdings():
                turns += [self._turn_of_run(owner, holding), self._turn_of_need(owner, holding)]
        self.next_at = min((turn for turn in turns if turn > now), default=None)
