"""Routing functions run in a process of their own, and whatever they do becomes an answer."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cloudpickle
import psutil
import pytest

from distilmq.protocol.plan import RouteSpec
from distilmq_broker.adapters.routing_process import RoutingProcess
from distilmq_broker.core.events import Routed, RouteFailed

SUCCESSORS = ("a", "b", "c")
_Start = Callable[..., RoutingProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[_Start]:
    """Makes a router whose step `fork` has the given function."""
    made: list[RoutingProcess] = []

    def _start(function: Callable[[list[str]], object] | None = None, sample: int | None = None) -> RoutingProcess:
        code = cloudpickle.dumps(function) if function else b""
        route = RouteSpec(step="fork", sample=sample, function=code)
        made.append(RoutingProcess([route], output=tmp_path / "workers.log"))
        return made[-1]

    yield _start
    for router in made:
        router.close()


def test_the_chosen_successors_come_back_in_the_order_of_the_plan(start: _Start) -> None:
    router = start(lambda steps: [steps[2], steps[0]])

    router.ask("fork", (4,), SUCCESSORS)

    assert _answers(router, 1) == [Routed("fork", (4,), ("a", "c"))]


def test_an_empty_choice_is_a_choice(start: _Start) -> None:
    router = start(lambda steps: [])

    router.ask("fork", (), SUCCESSORS)

    assert _answers(router, 1) == [Routed("fork", (), ())]


def test_many_questions_are_answered_one_by_one(start: _Start) -> None:
    router = start(lambda steps: steps[:1])

    for place in range(300):
        router.ask("fork", (place,), SUCCESSORS)

    answers = _answers(router, 300)
    assert [answer.seq_no for answer in answers] == [(place,) for place in range(300)]


def test_a_function_runs_in_another_process_that_ends_with_the_router(start: _Start, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    router = start(lambda steps: [pids.write_text(str(__import__("os").getpid())) and steps[0]])

    router.ask("fork", (), SUCCESSORS)
    _answers(router, 1)
    pid = int(pids.read_text())
    alive = psutil.pid_exists(pid)
    router.close()

    assert pid != os.getpid()
    assert alive
    assert not psutil.pid_exists(pid)


def test_a_function_that_raises_is_shown_with_its_traceback(start: _Start) -> None:
    def choose(steps: list[str]) -> list[str]:
        raise KeyError("which?")

    router = start(choose)

    router.ask("fork", (1,), SUCCESSORS)

    (answer,) = _answers(router, 1)
    assert isinstance(answer, RouteFailed)
    assert (answer.error.type, answer.error.message) == ("KeyError", "'which?'")
    assert "in choose" in answer.error.traceback


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (lambda steps: "a", "answered 'a', not a list of step names"),
        (lambda steps: None, "answered None, not a list of step names"),
        (lambda steps: [1], "answered [1], not a list of step names"),
        (lambda steps: ["a", "z"], "chose 'z', which does not follow that step; its successors are 'a', 'b', 'c'"),
    ],
)
def test_what_is_no_list_of_successors_is_refused(
    start: _Start, choice: Callable[[list[str]], object], message: str
) -> None:
    router = start(choice)

    router.ask("fork", (1,), SUCCESSORS)

    (answer,) = _answers(router, 1)
    assert isinstance(answer, RouteFailed)
    assert answer.error.message == f"the routing function behind step 'fork' {message}"


def test_a_function_that_ends_its_process_fails_what_was_asked_and_later_questions_start_another(
    start: _Start, tmp_path: Path
) -> None:
    once = tmp_path / "once"

    def choose(steps: list[str]) -> list[str]:
        if not once.exists():
            once.touch()
            os._exit(9)
        return steps[:1]

    router = start(choose)

    router.ask("fork", (1,), SUCCESSORS)
    (first,) = _answers(router, 1)
    router.ask("fork", (2,), SUCCESSORS)
    (second,) = _answers(router, 1)

    assert isinstance(first, RouteFailed)
    assert first.error.message == "the process of the routing function behind step 'fork' ended with code 9"
    assert second == Routed("fork", (2,), ("a",))


def test_what_a_function_prints_goes_to_the_log_of_the_workers(start: _Start, tmp_path: Path) -> None:
    router = start(lambda steps: [print("hello from routing", flush=True) or steps[0]])

    router.ask("fork", (), SUCCESSORS)
    _answers(router, 1)

    assert "hello from routing" in (tmp_path / "workers.log").read_text()


def test_a_sample_needs_no_process_and_is_the_same_in_every_run(start: _Start) -> None:
    first, second = start(sample=2), start(sample=2)

    for router in (first, second):
        for place in range(50):
            router.ask("fork", (place,), SUCCESSORS)

    answers = list(first.answers())
    assert answers == list(second.answers())
    assert all(isinstance(answer, Routed) and len(answer.successors) == 2 for answer in answers)
    assert len({answer.successors for answer in answers if isinstance(answer, Routed)}) == 3


def test_a_sample_of_more_than_there_are_fails(start: _Start) -> None:
    router = start(sample=4)

    router.ask("fork", (), SUCCESSORS)

    (answer,) = router.answers()
    assert isinstance(answer, RouteFailed)
    assert "sample_n_steps(4) behind step 'fork', which has 3 successors" in answer.error.message


def _answers(router: RoutingProcess, count: int) -> list[Routed | RouteFailed]:
    found: list[Routed | RouteFailed] = []
    deadline = time.monotonic() + 30
    while len(found) < count:
        assert time.monotonic() < deadline, found
        found.extend(router.answers())
        if len(found) < count:
            select.select([router.fileno()], [], [], 1.0)
    return found
