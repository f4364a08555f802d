"""A need that nothing serves, though there is work for it, gets a slot of who has several, or had its turn."""

from __future__ import annotations

from distilmq.protocol.messages.slots import Need
from distilmq_broker.front.core.board import Board
from distilmq_broker.front.core.claims import Claim
from distilmq_broker.front.core.hosts import Holding, Host

TURN = 30.0
"""Seconds that a run keeps its last slot while another one has none."""


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
                for need in unserved:
                    self._keep(claim, need, now)
            elif unserved == claim.starving and not any(self._keep(claim, need, now) for need in unserved):
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

    def _dearness(self, holding: Holding) -> tuple[bool, float, float]:
        """What is idle goes first, then what belongs to who has most, then what is newest."""
        owner = self._board.claims[holding.grant.run]
        return not owner.idle(holding.grant.need), -owner.share(), -holding.since

    def _may_go(self, holding: Holding, claim: Claim, taken: list[Holding], now: float) -> bool:
        grant = holding.grant
        owner = self._board.claims[grant.run]
        if owner.idle(grant.need):
            return owner is claim or not claim.working
        if owner is claim:
            gone = sum((other.grant.run, other.grant.need) == (grant.run, grant.need) for other in taken)
            return claim.has(grant.need) - gone > 1
        if claim.working:
            return False
        gone = sum(other.grant.run == grant.run and not owner.idle(other.grant.need) for other in taken)
        return owner.working - gone > 1 or now >= holding.since + TURN

    def _wait_for_turn(self, now: float) -> None:
        held = [holding for claim in self._board.claims.values() for holding in claim.holdings()]
        turns = [holding.since + TURN for holding in held if holding.since + TURN > now]
        if self.next_at is not None:
            turns.append(self.next_at)
        self.next_at = min(turns, default=None)
