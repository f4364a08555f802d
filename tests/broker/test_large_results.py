"""Results in parts, between a real socket and a real journal: on disk part by part, recorded whole, once or never."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distilmq.protocol import messages
from distilmq.protocol.rows import encode_rows
from tests.broker.recorded import rows_of
from tests.broker.serving import Client, Worker, chain, serving


def parts_of(worker: Worker, lease: messages.Lease, pieces: list[list[dict[str, Any]]]) -> list[tuple[Any, bytes]]:
    """Each piece in two parts."""
    found: list[tuple[Any, bytes]] = []
    for rows in pieces:
        data = encode_rows(rows)
        for chunk, count in ((data[:10], 0), (data[10:], len(rows))):
            number = len(found)
            part = messages.ResultPart(session=worker.session, lease=lease, number=number, rows=count)
            found.append((part, chunk))
    return found


def result_of(worker: Worker, lease: messages.Lease, rows: int, parts: int, **fields: Any) -> messages.Result:
    return messages.Result(session=worker.session, lease=lease, rows=rows, parts=parts, **fields)


PIECES = [rows_of("load", 0, 3), rows_of("load", 1, 2)]
ROWS = [row for piece in PIECES for row in piece]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "run" / "segments").iterdir())


def test_it_is_kept_part_by_part_and_its_rows_come_out_in_order(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        welcome = worker.hello()
        assign = worker.expect(messages.Assign)[0]
        worker.send(messages.Ready(session=worker.session, step=assign.step))
        batch, _ = worker.batch()
        kept: list[int] = []
        for part, data in parts_of(worker, batch.lease, PIECES):
            worker.send(part, data)
            kept.append(worker.expect(messages.PartKept)[0].parts)
        on_disk = files(tmp_path)
        worker.send(result_of(worker, batch.lease, 5, 4, last=True))
        ack, _ = worker.expect(messages.Ack)
        client.expect(messages.Finished)
        rows = client.fetch("load")

    assert welcome.max_part == 8 * 1024 * 1024
    assert kept == [1, 2, 3, 4]
    assert on_disk == ["000001.part"]
    assert ack.lease == batch.lease
    assert rows == ROWS
    assert files(tmp_path) == ["000001.seg"]


def test_what_comes_twice_counts_once_and_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        parts = parts_of(worker, batch.lease, PIECES)
        kept: list[int] = []
        for number in (0, 0, 2, 1, 1, 2):
            worker.send(parts[number][0], parts[number][1])
            kept.append(worker.expect(messages.PartKept)[0].parts)
        worker.send(result_of(worker, batch.lease, 5, 4, last=True))
        kept.append(worker.expect(messages.PartKept)[0].parts)
        worker.send(*parts[3])
        worker.expect(messages.PartKept)
        worker.send(result_of(worker, batch.lease, 5, 4, last=True))
        worker.expect(messages.Ack)
        worker.send(result_of(worker, batch.lease, 5, 4, last=True))
        worker.send(*parts[0])
        again = [worker.expect(messages.Ack)[0].lease for _ in range(2)]
        client.expect(messages.Finished)
        rows = client.fetch("load")

    assert kept == [1, 1, 1, 2, 2, 3, 3]
    assert again == [batch.lease] * 2
    assert rows == ROWS


def test_the_next_coordinator_asks_for_all_parts_again(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        parts = parts_of(worker, batch.lease, PIECES)
        worker.send(*parts[0])
        worker.expect(messages.PartKept)
        session = worker.session

    with (
        serving(tmp_path / "run") as server,
        Client(server.endpoint) as client,
        Worker(server.endpoint, session=session) as worker,
    ):
        client.submit(chain("load"))
        left = files(tmp_path)
        worker.hello(step="load", ready=True, held=(batch.lease,))
        worker.send(*parts[1])
        kept = [worker.expect(messages.PartKept)[0].parts]
        for part in parts:
            worker.send(*part)
            kept.append(worker.expect(messages.PartKept)[0].parts)
        worker.send(result_of(worker, batch.lease, 5, 4, last=True))
        worker.expect(messages.Ack)
        client.expect(messages.Finished)
        rows = client.fetch("load")

    assert left == []
    assert kept == [0, 1, 2, 3, 4]
    assert rows == ROWS


def test_what_a_process_that_died_had_sent_is_removed_and_its_batch_goes_to_another(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as load:
        client.submit(chain("load", "ask"))
        load.join()
        batch, _ = load.batch()
        load.give(batch.lease, rows_of("load", 0), last=True)
        first, second = Worker(server.endpoint), Worker(server.endpoint)
        first.join()
        batch, _ = first.batch()
        first.send(*parts_of(first, batch.lease, PIECES)[0])
        first.expect(messages.PartKept)
        first.send(messages.Bye(session=first.session))
        second.join()
        batch, _ = second.batch()
        for part in parts_of(second, batch.lease, PIECES):
            second.send(*part)
            second.expect(messages.PartKept)
        begun = files(tmp_path)
        second.send(result_of(second, batch.lease, 5, 4))
        second.expect(messages.Ack)
        client.expect(messages.Finished)
        rows = client.fetch("ask")
        first.connection.close()
        second.connection.close()

    assert begun == ["000001.seg", "000003.part"]
    assert rows == ROWS
    assert files(tmp_path) == ["000001.seg", "000003.seg"]


def test_a_late_copy_of_a_recorded_batch_is_not_taken(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as load:
        client.submit(chain("load", "ask", "keep"))
        load.join()
        batch, _ = load.batch()
        load.give(batch.lease, rows_of("load", 0))
        one, other = Worker(server.endpoint), Worker(server.endpoint)
        one.join()
        batch, _ = one.batch()
        for part in parts_of(one, batch.lease, PIECES):
            one.send(*part)
            one.expect(messages.PartKept)
        other.join()
        other.give(batch.lease, rows_of("ask", 0))
        other.expect(messages.Ack)
        one.expect(messages.Cancel)
        one.send(result_of(one, batch.lease, 5, 4))
        one.expect(messages.Ack)
        left = files(tmp_path)
        one.connection.close()
        other.connection.close()

    assert left == ["000001.seg"]


def test_parts_that_make_no_rows_fail_their_batch(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        part = messages.ResultPart(session=worker.session, lease=batch.lease, number=0, rows=7)
        worker.send(part, encode_rows(rows_of("load", 0, 3)))
        worker.expect(messages.PartKept)
        worker.send(result_of(worker, batch.lease, 7, 1))
        finished, _ = client.expect(messages.Finished)

    assert finished.error is not None
    assert "a result of 7 rows came without a payload of as many rows" in finished.error.message
    assert files(tmp_path) == []


def test_a_result_of_one_part_is_recorded_among_the_others(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        for place in range(3):
            batch, _ = worker.batch()
            part = messages.ResultPart(session=worker.session, lease=batch.lease, number=0, rows=5)
            worker.send(part, encode_rows(rows_of("load", place)))
            worker.expect(messages.PartKept)
            worker.send(result_of(worker, batch.lease, 5, 1, last=place == 2))
            worker.expect(messages.Ack)
        client.expect(messages.Finished)
        rows = client.fetch("load")

    assert rows == [row for place in range(3) for row in rows_of("load", place)]
    assert files(tmp_path) == ["000001.seg"]
