"""The ceiling of the design on this machine: a bare coordinator with a journal and nothing else.

A ROUTER with credits, rows as msgpack, payloads appended to a segment, one SQLite record per result in group
commits, acknowledged after the commit. A generator and two steps run in a process each, as in a real run.
What it leaves out is what an engine is for: validation, leases, heartbeats, resuming, joins, failures, a
client, a dataset at the end.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import zmq

BATCH = 50
CREDIT = 4
STEPS = 3


@dataclass
class Station:
    """One step as the coordinator sees it."""

    peer: bytes = b""
    credit: int = CREDIT
    waiting: deque[tuple[int, bytes]] = field(default_factory=deque)


class Journal:
    """Payloads in a segment, records in SQLite: what `kill -9` must not lose."""

    def __init__(self, folder: Path) -> None:
        self.segment = os.open(folder / "segment", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self.offset = 0
        self.ledger = sqlite3.connect(folder / "ledger.db", isolation_level=None)
        self.ledger.execute("PRAGMA journal_mode=WAL")
        self.ledger.execute("PRAGMA synchronous=NORMAL")
        self.ledger.execute("CREATE TABLE batch (step, seq_no, offset, length, PRIMARY KEY (step, seq_no))")
        self.records: list[tuple[int, int, int, int]] = []

    def append(self, step: int, seq_no: int, payload: bytes) -> None:
        os.write(self.segment, payload)
        self.records.append((step, seq_no, self.offset, len(payload)))
        self.offset += len(payload)

    def commit(self) -> None:
        self.ledger.execute("BEGIN")
        self.ledger.executemany("INSERT INTO batch VALUES (?, ?, ?, ?)", self.records)
        self.ledger.execute("COMMIT")
        self.records.clear()

    def close(self) -> None:
        self.ledger.close()
        os.close(self.segment)


def coordinate(batches: int) -> float:
    """Seconds from the first batch to the last commit."""
    with tempfile.TemporaryDirectory(prefix="distilmq-floor-") as folder, zmq.Context() as context:
        endpoint = f"ipc://{folder}/c"
        socket = context.socket(zmq.ROUTER)
        socket.bind(endpoint)
        workers = [subprocess.Popen([sys.executable, __file__, "worker", str(step), endpoint]) for step in range(STEPS)]
        stations = [Station() for _ in range(STEPS)]
        for _ in range(STEPS):
            peer, header, _ = socket.recv_multipart()
            stations[msgpack.unpackb(header)[0]].peer = peer
        journal = Journal(Path(folder))
        stations[0].waiting.extend((number, b"") for number in range(batches))
        start = time.perf_counter()
        _serve(socket, stations, journal, batches)
        seconds = time.perf_counter() - start
        for station, worker in zip(stations, workers, strict=True):
            socket.send_multipart([station.peer, b"", b""])
            worker.wait()
        journal.close()
        socket.close()
        return seconds


def _serve(socket: zmq.Socket[bytes], stations: list[Station], journal: Journal, batches: int) -> None:
    done = 0
    _dispatch(socket, stations)
    while done < batches:
        results: list[tuple[int, int, bytes]] = []
        socket.poll()
        while len(results) < 64:
            try:
                _, header, payload = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            step, seq_no = msgpack.unpackb(header)
            journal.append(step, seq_no, payload)
            results.append((step, seq_no, payload))
        journal.commit()
        for step, seq_no, payload in results:
            stations[step].credit += 1
            if step + 1 < STEPS:
                stations[step + 1].waiting.append((seq_no, payload))
            else:
                done += 1
        _dispatch(socket, stations)


def _dispatch(socket: zmq.Socket[bytes], stations: list[Station]) -> None:
    for station in stations:
        while station.credit and station.waiting:
            seq_no, payload = station.waiting.popleft()
            station.credit -= 1
            socket.send_multipart([station.peer, msgpack.packb(seq_no), payload])


def work(step: int, endpoint: str) -> None:
    """A worker: rows in, the same rows out, as objects in between."""
    with zmq.Context() as context:
        socket = context.socket(zmq.DEALER)
        socket.connect(endpoint)
        socket.send_multipart([msgpack.packb((step, 0)), b""])
        while True:
            header, payload = socket.recv_multipart()
            if not header:
                break
            seq_no = msgpack.unpackb(header)
            rows = [msgpack.unpackb(item) for item in msgpack.unpackb(payload)] if step else _new_rows(seq_no)
            payload = msgpack.packb([msgpack.packb(item) for item in rows])
            socket.send_multipart([msgpack.packb((step, seq_no)), payload])
        socket.close()


def _new_rows(seq_no: int) -> list[dict[str, object]]:
    return [
        {"id": number, "text": (f"{number:08d} " * 112)[:1000]}
        for number in range(seq_no * BATCH, (seq_no + 1) * BATCH)
    ]


def main() -> None:
    """`floor.py worker STEP ENDPOINT`, or `floor.py ROWS`."""
    if sys.argv[1] == "worker":
        work(int(sys.argv[2]), sys.argv[3])
    else:
        print("RESULT " + json.dumps({"seconds": coordinate(int(sys.argv[1]) // BATCH)}), flush=True)


if __name__ == "__main__":
    main()
