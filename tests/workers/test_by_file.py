"""One real step process whose rows go by way of an object store that answers nobody for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from distilmq.protocol import messages as m
from distilmq.protocol.plan import Storage
from distilmq.protocol.rows import decode_rows, encode_rows
from distilmq.transport.shared_files import SharedFiles
from tests.servers.s3 import ObjectStore, object_store
from tests.workers import sample_steps as samples
from tests.workers.coordinator import ScriptedCoordinator, Worker


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with object_store("rows") as started:
        yield started


@pytest.fixture
def coordinator() -> Iterator[ScriptedCoordinator]:
    with ScriptedCoordinator(heartbeat=0.1, max_part=1_000_000) as scripted:
        yield scripted


def loaded(coordinator: ScriptedCoordinator, store: ObjectStore) -> tuple[Worker, SharedFiles]:
    """A step process, and our end of its files."""
    storage = Storage(path="s3://rows/passed", options=store.options())
    files = SharedFiles(storage, "r")
    files.begin()
    coordinator.start_process()
    return coordinator.slot(samples.Double(name="double"), storage=storage, run="r"), files


def hear_beats(coordinator: ScriptedCoordinator) -> None:
    """Listens until two more have come."""
    before = len(coordinator.beats)
    coordinator.until(lambda: len(coordinator.beats) >= before + 2)


def test_it_beats_while_a_part_of_a_batch_is_read(coordinator: ScriptedCoordinator, store: ObjectStore) -> None:
    worker, files = loaded(coordinator, store)
    data = encode_rows([{"n": 1}, {"n": 2}])
    lease = worker.lease(0)
    worker.say(m.Batch(lease=lease, inputs=("before",), rows=(2,), parts=True))
    coordinator.hear(m.FetchPart)
    file = files.write("batch-0", data[1:])
    store.hold()
    worker.say(m.BatchPart(lease=lease, input=0, cursor=(), next=(), file=file))

    hear_beats(coordinator)
    early = coordinator.said(m.ResultPart)
    store.release()
    part, payload, _ = coordinator.hear(m.ResultPart)

    assert early == []
    assert payload == []
    assert part.file is not None
    assert [row["doubled"] for row in decode_rows(files.read(part.file))] == [2, 4]
    assert store.objects("rows") == ["passed/r/distilmq-run", f"passed/r/{part.file.name}"]


def test_it_beats_while_a_part_of_a_result_is_written_and_writes_it_once(
    coordinator: ScriptedCoordinator, store: ObjectStore
) -> None:
    worker, files = loaded(coordinator, store)
    store.hold()
    worker.hand(0, [1, 2])

    coordinator.until(lambda: any(method == "PUT" for method, _ in store.requests[-1:]))
    hear_beats(coordinator)
    # After each Welcome it offers again what is not acknowledged.
    coordinator.welcome(worker.peer)
    hear_beats(coordinator)
    early = coordinator.said(m.ResultPart)
    store.release()
    part, _, _ = coordinator.hear(m.ResultPart)
    hear_beats(coordinator)

    assert early == []
    assert part.file is not None
    assert [row["doubled"] for row in decode_rows(files.read(part.file))] == [2, 4]
    assert coordinator.said(m.ResultPart) == []


def test_what_cannot_be_written_goes_along(coordinator: ScriptedCoordinator, store: ObjectStore) -> None:
    worker, _ = loaded(coordinator, store)
    store.refuse = True

    worker.hand(0, [1, 2])
    part, payload, _ = coordinator.hear(m.ResultPart)

    assert part.file is None
    assert [row["doubled"] for row in decode_rows(payload[0])] == [2, 4]
