"""What is lent of an account's limits is lent once over all runs of a broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from distilmq.protocol import messages
from distilmq.protocol.messages import Loan
from distilmq_broker.core.accounts import LENT_FOR
from tests.broker.front.brokers import BrokerClient, Program, broker_in, worker_of
from tests.broker.serving import Worker, chain
from tests.waiting import until

TOLD = Loan(places=64, requests=600.0)
LEARNT = Loan(places=12, requests=60.0)
BEGINNING = Loan(places=32)
"""To what a process has come that has not sent anything yet."""


NOTHING = Loan(places=0, requests=0.0)
_clock = count(1)


class Model:
    """A model in a step process: it goes by what it was lent last."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._heard: float | None = None

    def ask(self, **fields: Any) -> messages.Lend:
        """One application of a model that has much to send."""
        asked = float(next(_clock))
        values = {"told": Loan(), "wanted": 100, "asked": asked, "heard": self._heard, **fields}
        self.worker.send(messages.Borrow(session=self.worker.session, account=b"account", **values))
        lend, _ = self.worker.expect(messages.Lend)
        assert (lend.account, lend.asked) == (b"account", asked)
        self._heard = asked
        return lend

    def borrow(self, held: Loan | None = None) -> Loan:
        """What it gets of what was told."""
        return self.ask(told=TOLD, held=held).loan


@dataclass
class Scene:
    """A broker with runs of one step, each on a host of its own."""

    program: Program
    client: BrokerClient
    models: list[Model]

    def begin(self, *places: int) -> None:
        """Starts the runs of these models; each has a process."""
        for place in places:
            self.client.start(f"run-{place}", chain("load"))
            self.models[place].worker.join()


@contextmanager
def scene_of(folder: Path, models: int) -> Iterator[Scene]:
    with broker_in(folder) as program, BrokerClient(program) as client, ExitStack() as stack:
        workers = [stack.enter_context(worker_of(program, f"run-{place}")) for place in range(models)]
        yield Scene(program, client, [Model(worker) for worker in workers])


def test_processes_of_two_runs_share_an_account(tmp_path: Path) -> None:
    with scene_of(tmp_path, 2) as scene:
        scene.begin(0, 1)
        one, two = scene.models
        alone = one.borrow()
        nothing = two.borrow()
        half = [one.borrow(), one.borrow()]
        other_half = two.borrow()

    assert alone == TOLD
    assert nothing == NOTHING
    assert half == [other_half] * 2 == [Loan(places=32, requests=300.0)] * 2


def test_after_a_restart_nothing_is_lent_beyond_what_is_still_held(tmp_path: Path) -> None:
    held = Loan(places=5, requests=10.0)
    with scene_of(tmp_path, 1) as scene:
        scene.begin(0)
        (model,) = scene.models
        scene.program.kill()
        scene.program.start_again()
        model.worker.send(messages.Heartbeat(session=model.worker.session))
        model.worker.expect(messages.Who)
        model.worker.hello(step="load", ready=True)

        assert model.borrow(held) == held


def test_places_come_back_when_the_loan_of_a_process_that_has_left_is_over(tmp_path: Path) -> None:
    with scene_of(tmp_path, 2) as scene:
        scene.begin(0, 1)
        one, two = scene.models
        alone = one.borrow()
        one.worker.send(messages.Bye(session=one.worker.session))
        early = two.borrow()

        until(lambda: two.borrow() == TOLD, "its places did not come back", seconds=LENT_FOR * 3)

    assert alone == TOLD
    assert early == NOTHING


def test_places_come_back_when_a_run_is_over(tmp_path: Path) -> None:
    with scene_of(tmp_path, 2) as scene:
        scene.begin(0, 1)
        one, two = scene.models
        one.borrow()
        scene.client.control("run-0", "kill")

        until(lambda: two.borrow() == TOLD, "its places did not come back", seconds=LENT_FOR * 3)


def test_each_model_of_a_process_gets_its_own_loan(tmp_path: Path) -> None:
    with scene_of(tmp_path, 1) as scene:
        scene.begin(0)
        lend = scene.models[0].ask(told=TOLD, borrower=3)

    assert (lend.borrower, lend.loan, lend.full) == (3, TOLD, True)


def test_another_run_begins_with_what_was_learnt(tmp_path: Path) -> None:
    with scene_of(tmp_path, 2) as scene:
        scene.begin(0)
        one, two = scene.models
        mine = one.ask(learnt=LEARNT, settled=True)
        scene.begin(1)
        early = two.ask(learnt=BEGINNING)
        for _ in range(2):
            shared = one.ask(learnt=LEARNT, share=LEARNT, settled=True)
        late = two.ask(learnt=early.learnt, share=early.learnt, settled=True)

    assert (mine.learnt, mine.settled) == (LEARNT, True)
    assert (early.learnt, early.settled) == (NOTHING, True), "all of it is lent to the other"
    assert shared.learnt == late.learnt == Loan(places=6, requests=30.0)


def test_a_broker_that_was_killed_begins_with_what_was_learnt(tmp_path: Path) -> None:
    with scene_of(tmp_path, 2) as scene:
        scene.begin(0)
        one, two = scene.models
        one.ask(learnt=LEARNT, settled=True)
        scene.program.kill()
        scene.program.start_again()

        with BrokerClient(scene.program) as again:
            again.start("run-1", chain("load"))
            two.worker.join()
            lend = two.ask(learnt=BEGINNING)

    assert (lend.learnt, lend.settled) == (LEARNT, True)
