"""The gate in front of a model: in order, within the limit, and nobody waits in it for nothing."""

from __future__ import annotations

import asyncio
import logging

import pytest

from distilmq.errors import DrainedError
from distilmq.models.requests.concurrency import AdaptiveLimit
from distilmq.models.requests.demand import Demand
from distilmq.models.requests.limiter import Limiter, Turn
from distilmq.models.requests.loan import NO_LIMIT, Lent
from distilmq.models.requests.rates import NOTHING, Limits, Pace
from distilmq.testing import ManualClock


class Gate:
    """A limiter with a clock of its own, and what was told."""

    def __init__(self, places: int = 2, limits: Limits | None = None, limit: AdaptiveLimit | None = None) -> None:
        self.clock = ManualClock()
        self.demand = Demand()
        self.drains = False
        self.limiter = Limiter(
            limit or AdaptiveLimit(places, places),
            Pace(limits or Limits(), self.clock.monotonic()),
            name="m",
            log=logging.getLogger("distilmq.tests.limiter"),
            demand=self.demand,
            clock=self.clock.monotonic,
        )

    def request(self) -> asyncio.Task[Turn]:
        """One more that waits."""
        self.limiter.waits()
        return asyncio.ensure_future(self.limiter.enter(lambda: self.drains, NOTHING))


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_are_out_than_there_are_places_and_they_go_in_order() -> None:
    async def run() -> None:
        gate = Gate(places=2)
        tasks = [gate.request() for _ in range(4)]
        await settled()
        assert [task.done() for task in tasks] == [True, True, False, False]

        gate.limiter.leave(tasks[1].result())
        await settled()
        assert [task.done() for task in tasks] == [True, True, True, False]

        gate.limiter.leave(tasks[0].result())
        await settled()
        assert gate.limiter.in_flight == 2
        assert gate.demand.now == (2, 0)
        gate.limiter.close()

    asyncio.run(run())


def test_one_that_is_cancelled_takes_no_place() -> None:
    async def run() -> None:
        gate = Gate(places=1)
        first, second, third = gate.request(), gate.request(), gate.request()
        await settled()

        second.cancel()
        await settled()
        gate.limiter.leave(first.result())
        await settled()

        assert third.done()
        assert gate.limiter.in_flight == 1
        assert gate.demand.now == (1, 0)
        gate.limiter.close()

    asyncio.run(run())


def test_those_that_wait_are_turned_away_when_the_worker_drains() -> None:
    async def run() -> None:
        gate = Gate(places=1)
        first, second = gate.request(), gate.request()
        await settled()

        gate.drains = True
        with pytest.raises(DrainedError):
            await asyncio.wait_for(second, 5)

        assert first.done()
        assert gate.demand.now == (1, 0)
        gate.limiter.close()

    asyncio.run(run())


def test_a_retry_after_holds_back_all_of_them() -> None:
    async def run() -> None:
        gate = Gate(places=2)
        first = await gate.request()
        gate.limiter.refused(first, 30.0)
        gate.limiter.leave(first)
        second = gate.request()
        await settled()
        assert not second.done()

        gate.clock.advance(30.0)
        await asyncio.wait_for(second, 5)
        gate.limiter.close()

    asyncio.run(run())


def test_a_long_wait_is_logged_once_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        gate = Gate(places=2)
        turns = [await gate.request(), await gate.request()]
        for turn, seconds in zip(turns, (3600.0, 3601.0), strict=True):
            gate.limiter.refused(turn, seconds)
            gate.limiter.leave(turn)
        gate.limiter.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())

    waits = [message for message in caplog.messages if "is not asked" in message]
    assert waits == ["'m' is not asked for 3600 s: the provider asks for that."]


def test_a_long_wait_that_headers_ask_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()

    with caplog.at_level(logging.INFO):
        for reset in ("2s", "1m30s"):
            gate.limiter.heard({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset})

    assert caplog.messages == ["'m' is not asked for 60 s: its headers say that no request is left."]


def test_it_says_when_there_is_room_for_more(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        gate = Gate(places=4)
        told: list[tuple[int, int]] = []
        gate.demand.listen(lambda limit, unsent: told.append((limit, unsent)))
        rows = gate.demand.expect(10)
        gate.limiter.waits(6)
        rows.met()
        tasks = [asyncio.ensure_future(gate.limiter.enter(lambda: False, NOTHING)) for _ in range(6)]
        await settled()

        assert told == [(4, 3), (4, 2)], "not before fewer wait than may be out"
        for task in tasks:
            task.cancel()
        await settled()
        gate.limiter.close()

    asyncio.run(run())


def test_every_cut_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        gate = Gate(places=10)
        turn = await gate.request()
        gate.limiter.refused(turn, None)
        gate.limiter.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())

    assert "'m' may be asked 7 times at once, before 10: the provider refused requests: too many." in caplog.messages


def test_small_changes_are_logged_for_those_who_look_closely(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        gate = Gate(limit=AdaptiveLimit(10, 100))
        turns = [await gate.request() for _ in range(10)]
        gate.limiter.succeeded(turns[-1], NOTHING)
        gate.limiter.close()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())

    (told,) = [record for record in caplog.records if "may be asked" in record.message]
    assert (told.levelno, told.message.split(":")[0]) == (logging.DEBUG, "'m' may be asked 11 times at once, before 10")


def test_places_that_only_the_pace_leaves_free_are_not_taken_for_too_few() -> None:
    async def run() -> tuple[int, int]:
        limit = AdaptiveLimit(4, 100)
        gate = Gate(limit=limit, limits=Limits(requests=60))
        tasks = [gate.request() for _ in range(40)]
        for _ in range(20):
            await settled()
            for task in [task for task in tasks if task.done()]:
                tasks.remove(task)
                gate.limiter.succeeded(task.result(), NOTHING)
                gate.limiter.leave(task.result())
            gate.clock.advance(2.0)
            gate.limiter.lend(Lent(NO_LIMIT, until=gate.clock.monotonic() + 5.0))
        answered = 40 - len(tasks)
        for task in tasks:
            task.cancel()
        await settled()
        gate.limiter.close()
        return answered, limit.value

    answered, places = asyncio.run(run())

    assert answered > 10
    assert places == 4
