"""Messages go through the broker as they come, however many there are at once."""

from __future__ import annotations

from pathlib import Path

from distilmq.protocol import messages
from tests.broker.front.brokers import BrokerClient, broker_in, client_of, worker_of
from tests.broker.recorded import rows_of
from tests.broker.serving import chain
from tests.integration.runs import until
from tests.stopwatch import Stopwatch

RUN = "run-1"
BATCHES = 1200


def test_what_waits_at_the_broker_is_not_left_lying_until_something_else_comes(tmp_path: Path) -> None:
    with (
        broker_in(tmp_path / "broker") as program,
        BrokerClient(program) as client,
        worker_of(program, RUN) as worker,
    ):
        client.start(RUN, chain("load"))
        worker.join()
        for place in range(BATCHES):
            batch, _ = worker.batch()
            worker.give(batch.lease, rows_of("load", 0, count=1), last=place == BATCHES - 1)
        until(lambda: client.runs()[RUN].state == "done", "it is done")
        with client_of(program, RUN) as follower:
            watch = Stopwatch()
            follower.send(messages.Fetch(session=follower.session, step="load", credit=BATCHES + 1))
            # Nothing is said meanwhile that could wake the broker.
            for _ in range(BATCHES):
                follower.expect(messages.Rows)
            took = watch.seconds

    # Each time that something is left lying costs a second, and there would be four.
    assert took < 3.0
