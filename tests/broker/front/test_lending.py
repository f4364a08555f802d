"""What is lent of an account's limits is lent once over all runs of a broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distilmq.protocol import messages
from distilmq.protocol.messages import Loan
from tests.broker.front.brokers import BrokerClient, broker_in, worker_of
from tests.broker.serving import Worker, chain

TOLD = Loan(places=64, requests=600.0)
LEARNT = Loan(places=12, requests=60.0)
BEGINNING = Loan(places=32)
"""To what a process has come that has not sent anything yet."""


def test_processes_of_two_runs_share_an_account(tmp_path: Path) -> None:
    with (
        broker_in(tmp_path / "broker") as program,
        BrokerClient(program) as client,
        worker_of(program, "one") as first,
        worker_of(program, "two") as second,
    ):
        client.start("one", chain("load"))
        client.start("two", chain("load"))
        first.join()
        second.join()
        alone = _borrow(first)
        nothing = _borrow(second)
        half = _borrow(first)
        other_half = _borrow(second)

    assert alone == TOLD
    assert nothing == Loan(places=0, requests=0.0)
    assert half == other_half == Loan(places=32, requests=300.0)


def test_after_a_restart_nothing_is_lent_beyond_what_is_still_held(tmp_path: Path) -> None:
    held = Loan(places=5, requests=10.0)
    with (
        broker_in(tmp_path / "broker") as program,
        BrokerClient(program) as client,
        worker_of(program, "one") as worker,
    ):
        client.start("one", chain("load"))
        worker.join()
        program.kill()
        program.start_again()
        worker.send(messages.Heartbeat(session=worker.session))
        worker.expect(messages.Who)
        worker.hello(step="load", ready=True)

        assert _borrow(worker, held) == held


def test_each_model_of_a_process_gets_its_own_loan(tmp_path: Path) -> None:
    with (
        broker_in(tmp_path / "broker") as program,
        BrokerClient(program) as client,
        worker_of(program, "one") as worker,
    ):
        client.start("one", chain("load"))
        worker.join()
        lend = _ask(worker, told=TOLD, borrower=3)

    assert (lend.borrower, lend.loan, lend.full) == (3, TOLD, True)


def test_another_run_begins_with_what_was_learnt(tmp_path: Path) -> None:
    with (
        broker_in(tmp_path / "broker") as program,
        BrokerClient(program) as client,
        worker_of(program, "one") as first,
        worker_of(program, "two") as second,
    ):
        client.start("one", chain("load"))
        first.join()
        mine = _ask(first, learnt=LEARNT, settled=True)
        client.start("two", chain("load"))
        second.join()
        early = _ask(second, learnt=BEGINNING)
        shared = _ask(first, learnt=LEARNT, share=LEARNT, settled=True)
        late = _ask(second, learnt=early.learnt, share=early.learnt, settled=True)

    assert (mine.learnt, mine.settled) == (LEARNT, True)
    assert (early.learnt, early.settled) == (Loan(places=0, requests=0.0), True), "all of it is lent to the other"
    assert shared.learnt == late.learnt == Loan(places=6, requests=30.0)


def test_a_broker_that_was_killed_begins_with_what_was_learnt(tmp_path: Path) -> None:
    with (
        broker_in(tmp_path / "broker") as program,
        BrokerClient(program) as client,
        worker_of(program, "one") as first,
    ):
        client.start("one", chain("load"))
        first.join()
        _ask(first, learnt=LEARNT, settled=True)
        program.kill()
        program.start_again()

        with BrokerClient(program) as again, worker_of(program, "two") as second:
            again.start("two", chain("load"))
            second.join()
            lend = _ask(second, learnt=BEGINNING)

    assert (lend.learnt, lend.settled) == (LEARNT, True)


def _ask(worker: Worker, **fields: Any) -> messages.Lend:
    """One application of a process that has much to send."""
    values = {"told": Loan(), "wanted": 100, "asked": 1.0, **fields}
    worker.send(messages.Borrow(session=worker.session, account=b"account", **values))
    lend, _ = worker.expect(messages.Lend)
    assert (lend.account, lend.asked) == (b"account", 1.0)
    return lend


def _borrow(worker: Worker, held: Loan | None = None) -> Loan:
    return _ask(worker, told=TOLD, held=held).loan
