"""The broker as a program: it runs what is submitted, and outlives whatever ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.protocol import messages
from distilmq.protocol.messages import broker
from tests.broker.front.brokers import BrokerClient, Program, broker_in, client_of, worker_of
from tests.broker.recorded import rows_of
from tests.broker.serving import chain

RUN = "run-1"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A broker."""
    with broker_in(tmp_path / "broker") as started:
        yield started


def test_a_submitted_run_is_computed_by_workers_that_come_through_the_broker(program: Program) -> None:
    with BrokerClient(program.endpoint) as client, worker_of(program, RUN) as worker:
        answer = client.start(RUN, chain("load"))
        worker.join()
        for place in range(3):
            batch, _ = worker.batch()
            worker.give(batch.lease, rows_of("load", place), last=place == 2)
        with client_of(program, RUN) as follower:
            follower.send(messages.Watch(session=follower.session))
            finished, _ = follower.expect(messages.Finished)
            rows = follower.fetch("load")

    assert answer == broker.RunStarted(run=RUN, asked=RUN)
    assert finished.outcome == "done"
    assert rows == [row for place in range(3) for row in rows_of("load", place)]
