"""What the ledger of a run says, read by nothing but SQL."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from distilmq.protocol.packing import unpack

_DONE = 1


@dataclass(slots=True)
class Ledger:
    """The recorded batches of a run.

    Attributes:
        twice: batches that are recorded several times, or as a whole and in parts.
        rows: of each step.
        batches: of each step.
        routes: of each routed step, where its batches went, in their order.
        again: how many batches were handed out more than once.
    """

    twice: list[str] = field(default_factory=lambda: list[str]())
    rows: Counter[str] = field(default_factory=lambda: Counter[str]())
    batches: Counter[str] = field(default_factory=lambda: Counter[str]())
    routes: dict[str, list[list[str]]] = field(default_factory=lambda: defaultdict[str, list[list[str]]](list))
    again: int = 0


def read(path: Path) -> Ledger:
    """All of it, once the run is over."""
    ledger = Ledger()
    with closing(_open(path)) as connection:
        query = "SELECT step, seq_no, part, state, rows, attempt, routes FROM batch ORDER BY step, seq_no, part"
        found = connection.execute(query).fetchall()
        counted = dict(connection.execute("SELECT step, rows FROM cursor"))
    done = [(step, seq_no, part) for step, seq_no, part, state, *_ in found if state == _DONE]
    ledger.twice = [f"{batch} is recorded {times} times" for batch, times in Counter(done).items() if times > 1]
    for step, seq_no, part in done:
        # A batch that is halved has the parts 1 and 2, its halves 3 to 6, and so on: what is above holds its rows.
        while part:
            part = (part - 1) // 2
            if (step, seq_no, part) in done:
                ledger.twice.append(f"{(step, seq_no, part)} is recorded, and so is a part of it")
    for step, _, part, state, rows, attempt, routes in found:
        if state != _DONE:
            continue
        ledger.rows[step] += rows
        ledger.batches[step] += 1
        ledger.again += attempt > 1
        if routes is not None and not part and rows:
            ledger.routes[step].append(unpack(routes))
    for step, rows in ledger.rows.items():
        if counted.get(step) != rows:
            ledger.twice.append(f"step '{step}' has {rows} rows, and {counted.get(step)} were counted")
    return ledger


def recorded(path: Path) -> int:
    """How many batches are recorded so far; 0 while there is no ledger."""
    if not path.exists():
        return 0
    try:
        with closing(_open(path)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM batch WHERE state = {_DONE}").fetchone()[0])
    except sqlite3.OperationalError:  # it is being made
        return 0


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{os.fspath(path)}?mode=ro", uri=True, timeout=10)
