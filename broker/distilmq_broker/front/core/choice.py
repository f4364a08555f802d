"""Where the next process of a need goes."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from distilmq.protocol.messages.slots import Need
from distilmq_broker.front.core.board import Board
from distilmq_broker.front.core.claims import Claim
from distilmq_broker.front.core.hosts import Host
from distilmq_broker.front.core.turns import Turns

_Rank = tuple[int, int, int]


class Choice:
    """The hosts that have room for a need, the best one first, for as long as room is only taken."""

    def __init__(self, board: Board, turns: Turns, claim: Claim, need: Need) -> None:
        self._turns = turns
        self._claim = claim
        self._need = need
        able = [host for host in board.with_slots.values() if self._has_room(host)]
        self._heap = [(_rank(host), place, host) for place, host in enumerate(able)]
        heapify(self._heap)

    def best(self) -> Host | None:
        """The next one; it may be chosen again while it has room."""
        while self._heap:
            rank, place, host = heappop(self._heap)
            if not self._has_room(host):
                continue
            heappush(self._heap, (_rank(host), place, host))
            if rank == _rank(host):
                return host
        return None

    def _has_room(self, host: Host) -> bool:
        if host.leaving or host.room.slots < 1:
            return False
        beside = self._turns.kept_beside(host, self._claim, self._need)
        return host.room.fits(self._need, beside) and self._claim.may_have(host, self._need)


def _rank(host: Host) -> _Rank:
    """Few gpus and resources to spare first, so that they are left for who needs them; then many slots."""
    return len(host.room.gpus), len(host.offer.resources), -host.room.slots
