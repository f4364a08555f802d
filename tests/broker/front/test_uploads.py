"""Data that is sent before its run is started: part by part, checked, on disk, whatever happens to the broker."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.protocol import messages
from distilmq.protocol.messages import runs
from distilmq.protocol.plan import DataFile, Plan
from distilmq_broker.front.uploads import KEPT, Uploads
from tests.broker.front.brokers import BrokerClient, Program, broker_in, worker_of
from tests.broker.serving import chain

CONTENT = bytes(range(256)) * 40
FILE = DataFile(name="rows.pickle", size=len(CONTENT), digest=hashlib.blake2b(CONTENT, digest_size=32).hexdigest())
HALF = len(CONTENT) // 2


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", tcp=True) as started:
        yield started


def plan_with_data() -> Plan:
    plan = chain("load", "keep")
    load, keep = plan.steps
    return plan.model_copy(update={"steps": (load.model_copy(update={"data": (FILE,)}), keep)})


def part(client: BrokerClient, start: int, stop: int, **fields: object) -> messages.Message:
    """Sends bytes of the file; the answer."""
    data = CONTENT[start:stop]
    told = {"run": "r", "digest": FILE.digest, "offset": start, "crc": zlib.crc32(data), **fields}
    return client.ask(runs.Upload.model_validate({"session": client.session, **told}), data)


def there(client: BrokerClient) -> int:
    answer = part(client, 0, 0)
    assert isinstance(answer, runs.Uploaded)
    return answer.size


def test_a_run_begins_once_its_data_is_here_and_a_worker_fetches_it(program: Program) -> None:
    with BrokerClient(program) as client:
        before = client.start("r", plan_with_data())
        sizes = [part(client, 0, HALF), part(client, 0, HALF), part(client, HALF, len(CONTENT))]
        kept = list(program.folder.glob("uploads/r/*"))
        modes = {path.stat().st_mode & 0o777 for path in kept}
        started = client.start("r", plan_with_data())
        late = part(client, 0, HALF)
    with worker_of(program, "r") as worker:
        worker.hello()
        assign, _ = worker.expect(messages.Assign)
        worker.send(messages.FetchFile(session=worker.session, path=FILE.digest, offset=0))
        fetched = worker.expect(messages.FilePart)[1][0]
        worker.send(messages.FetchFile(session=worker.session, path="../run.json"))
        outside = worker.expect(messages.FilePart)[1][0]

    assert before == runs.DataWanted(run="r", digests=(FILE.digest,))
    assert [answer.size for answer in sizes if isinstance(answer, runs.Uploaded)] == [HALF, HALF, len(CONTENT)]
    assert modes == {0o600}
    assert started == runs.RunStarted(run="r", asked="r", data=True)
    assert isinstance(late, runs.Denied)
    assert assign.data == (FILE,)
    assert (fetched, outside) == (CONTENT, b"")
    assert list(program.folder.glob("uploads/*")) == []


def test_a_broker_that_was_killed_goes_on_where_it_was(program: Program) -> None:
    with BrokerClient(program) as client:
        part(client, 0, HALF)
    program.kill()
    program.start_again()

    with BrokerClient(program) as client:
        left = there(client)
        gap = part(client, HALF + 1, len(CONTENT))
        part(client, HALF, len(CONTENT))
        started = client.start("r", plan_with_data())
        client.control("r", "kill")
        client.control("r", "remove")

    assert left == HALF
    assert gap == runs.Uploaded(run="r", digest=FILE.digest, size=HALF)
    assert isinstance(started, runs.RunStarted)


def test_what_is_damaged_or_leads_elsewhere_is_denied(program: Program) -> None:
    with BrokerClient(program) as client:
        damaged = part(client, 0, HALF, crc=1)
        astray = [part(client, 0, HALF, digest=name) for name in ("../../keys", "", "A" * 64)]
        away = part(client, 0, HALF, run="../r")
        empty = there(client)

    assert isinstance(damaged, runs.Denied)
    assert "came damaged" in damaged.reason
    assert all(isinstance(answer, runs.Denied) for answer in (*astray, away))
    assert empty == 0


def test_a_workers_key_sends_no_data(program: Program) -> None:
    with BrokerClient(program, "worker") as worker:
        answer = part(worker, 0, HALF)

    assert isinstance(answer, messages.Refused)
    assert "a worker's key does not allow to say upload" in answer.reason


def test_what_was_never_made_a_run_of_is_removed_after_a_day(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    uploads.take("new", FILE.digest, 0, zlib.crc32(b"x"), b"x")
    uploads.take("old", FILE.digest, 0, zlib.crc32(b"x"), b"x")
    os.utime(tmp_path / "old", (0, (tmp_path / "new").stat().st_mtime - KEPT - 60))

    uploads.forget_old()

    assert [path.name for path in tmp_path.iterdir()] == ["new"]
