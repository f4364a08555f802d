"""A process that records batches as fast as it can and says what is committed, until it is killed.

python -m tests.broker.adapters.journal_writer FOLDER CRASH_AT ROTATE_AT SEED
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from distilmq.protocol.rows import encode_rows
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.adapters.system_clock import SystemClock
from distilmq_broker.core.facts import AnswerRecorded
from distilmq_broker.crash_points import parse_crash_at
from tests.broker.recorded import STEPS, recorded


def content(place: int) -> bytes:
    """The rows of a batch, of a length that differs from batch to batch."""
    return encode_rows([{"place": place, "text": "x" * (place * 37 % 5000)}])


def main() -> None:
    """Writes until it is killed."""
    folder, crash_at, rotate_at, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    journal = SqliteJournal(Path(folder), clock=SystemClock(), crash=parse_crash_at(crash_at), rotate_at=int(rotate_at))
    journal.note_steps(STEPS)
    place = sum(1 for _ in journal.batches("load"))
    while True:
        for _ in range(chance.randint(1, 6)):
            journal.append(recorded("load", place, rows=1), content(place))
            journal.append(AnswerRecorded("ask", (place,), 0, b"key", 0), f"answer {place}".encode())
            place += 1
        journal.commit()
        print(place, flush=True)


if __name__ == "__main__":
    main()
