"""Rows by way of an object store that answers nobody for a while: the coordinator does, and keeps all in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.protocol import messages
from distilmq.protocol.plan import Storage
from distilmq.protocol.rows import encode_rows
from distilmq.transport.shared_files import SharedFiles
from tests.broker.recorded import rows_of
from tests.broker.serving import Client, Serving, Worker, chain, serving
from tests.servers.s3 import ObjectStore, object_store
from tests.waiting import until

PARTS = 40
"""Bytes of a part: the five rows of a batch go in several."""


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with object_store("rows") as started:
        yield started


@pytest.fixture
def server(tmp_path: Path, store: ObjectStore) -> Iterator[Serving]:
    with serving(tmp_path / "run", max_part=PARTS) as started:
        yield started
    # A call that was going on ends by itself, at once only while the store is there to answer.
    until(lambda: not any(thread.name == "distilmq-errands" for thread in threading.enumerate()), "its calls end")


def storage_of(store: ObjectStore) -> Storage:
    return Storage(path="s3://rows/passed", options=store.options())


def joined(server: Serving) -> dict[str, Worker]:
    """A process for each of the two steps, by its step."""
    workers = [Worker(server.endpoint) for _ in range(2)]
    return {worker.join(parts=True).step: worker for worker in workers}


def waiting(store: ObjectStore, method: str) -> bool:
    """Whether a request of that kind has come and is not answered."""
    return bool(store.requests) and store.requests[-1][0] == method


def test_while_the_store_is_silent_others_are_heard_and_their_results_recorded(
    server: Serving, store: ObjectStore
) -> None:
    with Client(server.endpoint) as client:
        client.submit(chain("load", "ask", storage=storage_of(store), heartbeat=0.2))
        workers = joined(server)
        load, ask = workers["load"], workers["ask"]
        for place in range(2):
            batch, _ = load.batch()
            load.give(batch.lease, rows_of("load", place))
            load.expect(messages.Ack)
        asked, _ = ask.batch()
        store.hold()
        ask.send(messages.FetchPart(session=ask.session, lease=asked.lease))
        until(lambda: waiting(store, "PUT"), "a part is being written")

        batch, _ = load.batch()
        load.give(batch.lease, rows_of("load", 2))
        load.expect(messages.Ack)
        with Worker(server.endpoint) as another:
            another.hello()
        meanwhile = ask.waiting(messages.BatchPart)
        store.release()
        part, payload = ask.expect(messages.BatchPart)

        assert meanwhile == []
        assert part.file is not None
        assert payload == []
        assert SharedFiles(storage_of(store), "run").read(part.file)
        for worker in workers.values():
            worker.connection.close()


def test_a_part_that_is_asked_for_again_while_it_is_written_is_written_once(
    server: Serving, store: ObjectStore
) -> None:
    with Client(server.endpoint) as client:
        client.submit(chain("load", "ask", storage=storage_of(store)))
        workers = joined(server)
        load, ask = workers["load"], workers["ask"]
        batch, _ = load.batch()
        load.give(batch.lease, rows_of("load", 0))
        asked, _ = ask.batch()
        store.hold()
        for _ in range(3):
            ask.send(messages.FetchPart(session=ask.session, lease=asked.lease))
        until(lambda: waiting(store, "PUT"), "it is being written")
        # What it says is heard in its order.
        ask.send(messages.Hello(role="worker", worker=ask.worker, session=ask.session, ready=True, step="ask"))
        ask.expect(messages.Welcome)
        store.release()
        ask.expect(messages.BatchPart)
        more = ask.waiting(messages.BatchPart)
        for worker in workers.values():
            worker.connection.close()

    assert more == []
    assert len([path for method, path in store.requests if "batch-" in path and method == "PUT"]) == 1


def test_parts_of_a_result_are_kept_in_their_order_and_their_files_removed(server: Serving, store: ObjectStore) -> None:
    rows = rows_of("load", 0)
    data = encode_rows(rows)
    pieces = [data[start : start + PARTS] for start in range(0, len(data), PARTS)]
    with Client(server.endpoint) as client, Worker(server.endpoint) as load:
        client.submit(chain("load", storage=storage_of(store)))
        load.join(parts=True)
        batch, _ = load.batch()
        files = SharedFiles(storage_of(store), "run")
        parts = [
            messages.ResultPart(
                session=load.session,
                lease=batch.lease,
                number=number,
                rows=len(rows) if piece is pieces[-1] else 0,
                file=files.write(f"part-{number}", piece),
            )
            for number, piece in enumerate(pieces)
        ]
        store.hold()
        for part in parts:
            load.send(part)
        until(lambda: waiting(store, "GET"), "they are being read")
        kept_before = load.waiting(messages.PartKept)
        store.release()
        kept = [load.expect(messages.PartKept)[0].parts for _ in parts]
        load.send(messages.Result(session=load.session, lease=batch.lease, rows=len(rows), parts=len(parts), last=True))
        client.expect(messages.Finished)
        fetched = client.fetch("load")
        until(lambda: [name for name in store.objects("rows") if "part-" in name] == [], "the files are removed")

    assert len(parts) > 2
    assert kept_before == []
    assert kept == [number + 1 for number in range(len(parts))]
    assert fetched == rows


def test_a_part_that_is_not_there_is_asked_for_again(server: Serving, store: ObjectStore) -> None:
    data = encode_rows(rows_of("load", 0))
    with Client(server.endpoint) as client, Worker(server.endpoint) as load:
        client.send(messages.Watch(session=client.session))
        client.submit(chain("load", storage=storage_of(store)))
        load.join(parts=True)
        batch, _ = load.batch()
        files = SharedFiles(storage_of(store), "run")
        file = files.write("part-0", data)
        files.remove(file)
        part = messages.ResultPart(session=load.session, lease=batch.lease, number=0, rows=5, file=file)
        load.send(part)
        warning, _ = client.expect(messages.Note)
        load.send(part.model_copy(update={"file": files.write("part-0-again", data)}))
        kept, _ = load.expect(messages.PartKept)
        again, _ = client.expect(messages.Note)

    assert (warning.level, warning.event) == ("warning", "rows_not_fetched")
    assert "part-0 cannot be read from s3://rows/passed: FileNotFoundError" in warning.text
    assert kept.parts == 1
    assert (again.level, again.event) == ("info", "storage_works_again")
