"""Calls of other threads: so many at a time, told in order, and never waited for."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from distilmq.transport.errands import Errands
from tests.waiting import PATIENCE


@pytest.fixture
def errands() -> Iterator[Errands]:
    some = Errands(threads=2)
    yield some
    some.close()


def settle_until(errands: Errands, condition: Callable[[], object]) -> None:
    """Settles each time that there is something to, until a condition holds."""
    while not condition():
        readable, _, _ = select.select([errands.fileno()], [], [], PATIENCE)
        assert readable, "nothing ended any more"
        errands.settle()


def gated(gate: threading.Event, value: Any) -> Any:
    assert gate.wait(PATIENCE)
    return value


def test_what_is_asked_for_under_one_name_ends_in_its_order(errands: Errands) -> None:
    gate, ended = threading.Event(), list[str]()

    errands.ask("a", lambda: partial(gated, gate, "first"), ended.append)
    errands.ask("a", lambda: lambda: "second", ended.append)
    errands.ask("b", lambda: lambda: "other", ended.append)
    # The second is made, and waits for the first: there is no thread for the third.
    gate.set()
    settle_until(errands, lambda: len(ended) == 3)

    assert [each for each in ended if each != "other"] == ["first", "second"]


def test_another_name_is_not_held_up(errands: Errands) -> None:
    gate, ended = threading.Event(), list[str]()

    errands.ask("a", lambda: partial(gated, gate, "slow"), ended.append)
    errands.ask("b", lambda: lambda: "quick", ended.append)
    settle_until(errands, lambda: ended)
    early = list(ended)
    gate.set()
    settle_until(errands, lambda: len(ended) == 2)

    assert early == ["quick"]


def test_no_more_are_begun_than_there_are_threads(errands: Errands) -> None:
    gate, begun, ended = threading.Event(), list[int](), list[int]()

    def begin(number: int) -> Callable[[], Any]:
        begun.append(number)
        return partial(gated, gate, number)

    for number in range(5):
        errands.ask(str(number), partial(begin, number), ended.append)
    at_first = list(begun)
    gate.set()
    settle_until(errands, lambda: len(ended) == 5)

    assert at_first == [0, 1]
    assert sorted(ended) == sorted(begun) == [0, 1, 2, 3, 4]


def test_what_is_not_wanted_any_more_holds_up_nothing(errands: Errands) -> None:
    ended = list[str]()

    errands.ask("a", lambda: None, ended.append)
    errands.ask("a", lambda: lambda: "wanted", ended.append)
    settle_until(errands, lambda: ended)

    assert ended == ["wanted"]


def test_one_may_ask_for_the_next(errands: Errands) -> None:
    ended = list[str]()

    def again(given: str) -> None:
        ended.append(given)
        if len(ended) < 3:
            errands.ask("a", lambda: lambda: f"{given}+", again)

    errands.ask("a", lambda: lambda: "x", again)
    settle_until(errands, lambda: len(ended) == 3)

    assert ended == ["x", "x+", "x++"]


def test_what_a_call_raises_is_raised_where_it_is_settled(errands: Errands) -> None:
    ended = list[int]()

    errands.ask("a", lambda: lambda: 1 // 0, ended.append)

    with pytest.raises(ZeroDivisionError):
        settle_until(errands, lambda: ended)


def test_its_threads_end_when_it_is_closed() -> None:
    errands, gate, ended = Errands(threads=1), threading.Event(), list[str]()
    errands.ask("a", lambda: partial(gated, gate, "late"), ended.append)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "distilmq-errands"]

    errands.close()
    gate.set()
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert ended == []
