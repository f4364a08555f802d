"""What is lent of an account's limits is lent once over all runs of a broker."""

from __future__ import annotations

from pathlib import Path

from distilmq.protocol import messages
from distilmq.protocol.messages import Loan
from tests.broker.front.brokers import BrokerClient, broker_in, worker_of
from tests.broker.serving import Worker, chain

TOLD = Loan(places=64, requests=600.0)


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


def _borrow(worker: Worker, held: Loan | None = None) -> Loan:
    worker.send(
        messages.Borrow(session=worker.session, account=b"account", told=TOLD, wanted=100, held=held, asked=1.0)
    )
    lend, _ = worker.expect(messages.Lend)
    assert (lend.account, lend.asked) == (b"account", 1.0)
    return lend.loan
