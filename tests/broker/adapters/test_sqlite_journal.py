"""The journal keeps what it was given: facts, rows in order, answers, dead letters, epochs."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from distilmq.errors import JournalError
from distilmq.protocol.messages import ErrorInfo, RowFailure, UselessAnswer
from distilmq.protocol.rows import decode_rows, encode_rows
from distilmq.protocol.seq_no import sort_key
from distilmq.protocol.usage import Usage
from distilmq_broker.adapters.ledger import FORMAT, open_for_reading, open_ledger
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.adapters.system_clock import SystemClock
from distilmq_broker.core.facts import (
    AnswerRecorded,
    BatchHalved,
    BatchRecorded,
    DeathCounted,
    Fact,
    LimitLearnt,
    RouteRecorded,
    RowsBuried,
    Segment,
    Slice,
    UsageRecorded,
)
from tests.broker.recorded import journal_in, payload_of, places_of, record_chain, recorded, rows_of

ERROR = ErrorInfo(type="ValueError", message="no", traceback="Traceback …", pickled=b"\x80")


def test_facts_come_back_as_they_were_given_in_the_order_of_the_plan(tmp_path: Path) -> None:
    span = (("load", (Segment(5, (3,), 0, (3,), 5, True), Segment(2, (), 1, (4, 2), 3, False, False))),)
    facts: list[Fact] = [
        recorded("load", 0),
        RouteRecorded("load", (), ("ask", "keep")),
        recorded("load", 1, last=True),
        recorded("ask", 0, before="load", span=span, attempt=3, worker="w2"),
        DeathCounted("ask", (1,), 0, deaths=2, attempt=2),
        recorded("keep", 0, before="ask", failures=(RowFailure(row=2, error=ERROR, input=b"\x80"),)),
    ]
    with journal_in(tmp_path) as journal:
        for fact in [facts[3], facts[0], facts[5], facts[4], facts[2], facts[1]]:
            journal.append(fact, payload_of("x", 0) if isinstance(fact, BatchRecorded) else None)
        journal.commit()

    with journal_in(tmp_path) as journal:
        found = list(journal.facts())

    assert found == facts


def test_numbers_come_in_the_order_of_rows(tmp_path: Path) -> None:
    numbers = [(), (0, 3), (1,), (1, 0, 5), (1, 2), (2,), (10,), (100,)]
    with journal_in(tmp_path) as journal:
        for seq_no in reversed(numbers):
            journal.append(BatchRecorded("ask", seq_no, 0, (), (), 1, 1, 1, "w"), encode_rows([{}]))

        found = [seq_no for seq_no, _ in journal.batches("ask")]
        behind = [seq_no for seq_no, _ in journal.batches("ask", sort_key((1, 0, 5)))]

    assert found == numbers
    assert behind == numbers[4:]


def test_what_was_appended_is_read_before_it_is_committed(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.append(recorded("load", 3), payload_of("load", 3))

        rows = decode_rows(journal.payload("load", (3,)))

    assert rows == rows_of("load", 3)


def test_slices_of_several_batches_are_joined(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        for place in range(3):
            journal.append(recorded("load", place), payload_of("load", place))
        journal.commit()

        rows = decode_rows(
            journal.rows([Slice("load", (), 3, 5), Slice("load", (1,), 0, 5), Slice("load", (2,), 0, 1)])
        )

    assert rows == [*rows_of("load", 0)[3:], *rows_of("load", 1), *rows_of("load", 2)[:1]]


def test_a_whole_batch_is_handed_on_byte_for_byte(tmp_path: Path) -> None:
    payload = payload_of("load", 0)
    with journal_in(tmp_path) as journal:
        journal.append(recorded("load", 0), payload)
        journal.commit()

        assert journal.rows([Slice("load", (), 0, 5)]) == payload


def test_a_slice_that_the_batch_does_not_have_is_an_error(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.append(recorded("load", 0), payload_of("load", 0))

        with pytest.raises(JournalError, match="batch 0 of step 'load' has 5 rows, not 6"):
            journal.rows([Slice("load", (), 4, 6)])
        with pytest.raises(JournalError, match="batch 9 of step 'load' is not recorded"):
            journal.payload("load", (9,))


def test_a_halved_batch_is_read_as_one_once_all_its_parts_are_there(tmp_path: Path) -> None:
    inputs = ((Slice("load", (), 0, 5),),)
    parts = {2: (3, 5), 3: (0, 1), 4: (1, 3)}
    with journal_in(tmp_path) as journal:
        journal.append(BatchHalved("ask", (), 0, inputs, ()))
        journal.append(BatchHalved("ask", (), 1, inputs, ()))
        seen: list[list[int]] = []
        for part, (start, stop) in parts.items():
            payload = encode_rows(rows_of("ask", 0)[start:stop])
            journal.append(recorded("ask", 0, before="load", part=part, rows=stop - start), payload)
            seen.append(places_of(journal, "ask"))

        rows = decode_rows(journal.payload("ask", ()))
        across = decode_rows(journal.rows([Slice("ask", (), 2, 4)]))

    assert seen == [[], [], [0]]
    assert rows == rows_of("ask", 0)
    assert across == rows_of("ask", 0)[2:4]


def test_a_buried_row_is_recorded_and_lies_in_the_dead_letters(tmp_path: Path) -> None:
    fact = RowsBuried("ask", (2,), 0, ((Slice("load", (2,), 0, 1),),), (), ERROR)
    with journal_in(tmp_path) as journal:
        journal.append(DeathCounted("ask", (2,), 0, 3, 3))
        journal.append(fact, [encode_rows([{"answer": None}]), b"the row"])
        journal.commit()

        facts, rows, letters = list(journal.facts()), journal.payload("ask", (2,)), list(journal.failures("ask"))

    assert facts == [fact]
    assert decode_rows(rows) == [{"answer": None}]
    assert [(letter["seq_no"], letter["row"], letter["input"]) for letter in letters] == [([2], 0, b"the row")]
    assert letters[0]["error"] == ERROR.model_dump()


def test_dead_letters_say_who_what_and_when(tmp_path: Path) -> None:
    failure = RowFailure(row=4, error=ERROR, input=b"row", answer="{broken", attempts=7)
    with journal_in(tmp_path) as journal:
        journal.append(recorded("ask", 7, before="load", failures=(failure,)), payload_of("ask", 7))
        journal.append(recorded("keep", 7, before="ask", failures=(failure,)), payload_of("keep", 7))
        letters = list(journal.failures("ask"))
        everything = list(journal.failures())

    time = letters[0].pop("time")
    assert letters == [
        {
            "step": "ask",
            "seq_no": [7],
            "part": 0,
            "row": 4,
            "input": b"row",
            "error": ERROR.model_dump(),
            "answer": "{broken",
            "attempts": 7,
            "attempt": 1,
            "worker": "w1",
        }
    ]
    assert isinstance(time, float)
    assert len(everything) == 2


def test_a_batch_is_recorded_once(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.append(recorded("load", 0), payload_of("first", 0))
        journal.commit()
        journal.append(recorded("load", 0), payload_of("second", 0))
        journal.commit()

    with journal_in(tmp_path) as journal:
        assert decode_rows(journal.payload("load", ())) == rows_of("first", 0)


def test_answers_wait_for_their_batch_and_go_with_it(tmp_path: Path) -> None:
    slices = [Slice("load", (1,), 3, 5), Slice("load", (2,), 0, 5)]
    with journal_in(tmp_path) as journal:
        journal.append(AnswerRecorded("ask", (1,), 2, b"k", 0), b"of another batch")
        journal.append(AnswerRecorded("ask", (1,), 4, b"k", 0), b"one")
        journal.append(AnswerRecorded("ask", (2,), 1, b"k", 0), b"two")
        journal.append(AnswerRecorded("ask", (2,), 1, b"k", 1), b"")
        journal.commit()

    with journal_in(tmp_path) as journal:
        found = journal.answers("ask", slices)
        journal.append(recorded("ask", 1, before="load", inputs=(tuple(slices),)), payload_of("ask", 1))
        afterwards = journal.answers("ask", slices)
        others = journal.answers("ask", [Slice("load", (1,), 0, 3)])

    assert found == [(1, b"k", 0, b"one"), (3, b"k", 0, b"two"), (3, b"k", 1, b"")]
    assert afterwards == []
    assert others == [(2, b"k", 0, b"of another batch")]


def test_of_a_batch_with_a_failed_row_all_answers_stay_but_those_that_it_failed_by(tmp_path: Path) -> None:
    slices = [Slice("load", (1,), 3, 5), Slice("load", (2,), 0, 5)]
    useless = (
        UselessAnswer(key=b"k", occurrence=1),
        UselessAnswer(key=b"n", generations=(0, 2)),
        UselessAnswer(key=b"absent"),
    )
    failure = RowFailure(row=3, error=ErrorInfo(type="ValueError", message=""), useless=useless)
    with journal_in(tmp_path) as journal:
        for source, row, key, occurrence in (((1,), 4, b"k", 1), ((2,), 1, b"k", 0), ((2,), 1, b"k", 1)):
            journal.append(AnswerRecorded("ask", source, row, key, occurrence), b"an answer")
        journal.append(AnswerRecorded("ask", (2,), 1, b"n", 0), b"three")
        fact = recorded("ask", 1, before="load", inputs=(tuple(slices),), failures=(failure,))
        journal.append(fact, payload_of("ask", 1))

        found = journal.answers("ask", slices)

    assert found == [(1, b"k", 1, b"an answer", ()), (3, b"k", 0, b"an answer", ()), (3, b"n", 0, b"three", (0, 2))]


def test_the_latest_total_of_a_process_is_kept(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        for fact in (had("w1", 3), had("w2", 2), had("w1", 5), had("w1", 4), had("w1", 5)):
            journal.append(fact)
        uncommitted = list(journal.usage())
        journal.commit()

    with journal_in(tmp_path) as journal:
        usage, facts = list(journal.usage()), list(journal.facts())

    assert uncommitted == usage == facts == [had("w1", 5), had("w2", 2)]


def test_what_a_step_cost_outlives_its_starting_anew(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.append(had("w1", 3))
        journal.forget_steps(["ask"])

        assert list(journal.usage()) == [had("w1", 3)]


def test_a_ledger_of_an_older_format_goes_on_and_is_read_by_others(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        record_chain(journal, 2)
    older(tmp_path)
    open_for_reading(tmp_path / "ledger.db").close()

    with journal_in(tmp_path) as journal:
        assert (places_of(journal, "keep"), list(journal.usage())) == ([0, 1], [])
        journal.append(had("w1", 1))
        journal.commit()
        (found,) = journal.connection.execute("PRAGMA user_version").fetchone()

    assert found == FORMAT


def test_the_last_that_was_learnt_of_an_account_is_kept(tmp_path: Path) -> None:
    last = LimitLearnt(b"account", 22.5, None, settled=True)
    other = LimitLearnt(b"other", None, 300.0, settled=False)
    with journal_in(tmp_path) as journal:
        for fact in (LimitLearnt(b"account", 32.0, None, settled=False), other, last):
            journal.append(fact)
        journal.commit()

    with journal_in(tmp_path) as journal:
        assert list(journal.facts()) == [last, other]


def had(worker: str, requests: int) -> UsageRecorded:
    usage = Usage(
        model="m", requests=requests, input_tokens=10, output_tokens=2, cost=0.1 * requests, unpriced=1, seconds=0.5
    )
    return UsageRecorded("ask", worker, usage)


def older(folder: Path) -> None:
    """Makes the ledger one of format 1, as the first release wrote it."""
    connection = sqlite3.connect(folder / "ledger.db")
    letters = "".join(f"ALTER TABLE dead_letter DROP COLUMN {name};" for name in ("answer", "attempts", "out"))
    batches = "".join(f"ALTER TABLE batch DROP COLUMN {name};" for name in ("counts", "pieces"))
    connection.executescript(
        "DROP TABLE usage; DROP TABLE kept; DROP TABLE learnt_limit; DROP TABLE job; DROP TABLE job_request;"
        f" {batches} {letters} ALTER TABLE answer DROP COLUMN lost; PRAGMA user_version = 1;"
    )
    connection.close()


def test_every_opening_counts_an_epoch(tmp_path: Path) -> None:
    epochs: list[int] = []
    for _ in range(3):
        with journal_in(tmp_path) as journal:
            epochs.append(journal.epoch)

    assert epochs == [1, 2, 3]


def test_steps_that_start_anew_leave_nothing(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        record_chain(journal, 3)
        before = journal.recorded()
        journal.forget_steps(["ask", "keep"])

        assert (before, journal.recorded()) == (9, 3)
        assert (places_of(journal, "load"), places_of(journal, "ask")) == ([0, 1, 2], [])


def test_files_are_their_owners_only(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        record_chain(journal, 1)

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files if path.suffix in (".db", ".seg")} == {0o600}
    assert stat.S_IMODE((tmp_path / "segments").stat().st_mode) == 0o700


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    connection, _ = open_ledger(tmp_path / "ledger.db", power=False)
    connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()

    with pytest.raises(JournalError, match="written by a newer version of distilmq"):
        SqliteJournal(tmp_path, clock=SystemClock())


def test_something_else_in_the_ledgers_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)

    with pytest.raises(JournalError, match=r"ledger\.db: file is not a database"):
        SqliteJournal(tmp_path, clock=SystemClock())


def test_power_durability_syncs_before_the_commit(tmp_path: Path) -> None:
    with journal_in(tmp_path, power=True) as journal:
        record_chain(journal, 2)
        (level,) = journal.connection.execute("PRAGMA synchronous").fetchone()

    assert level == 2
    with journal_in(tmp_path) as journal:
        assert places_of(journal, "keep") == [0, 1]


def test_on_a_network_file_system_there_is_no_log_that_is_shared_by_memory(tmp_path: Path) -> None:
    with journal_in(tmp_path, network=True) as journal:
        record_chain(journal, 2)
        files = sorted(path.name for path in tmp_path.iterdir())
        (mode,) = journal.connection.execute("PRAGMA journal_mode").fetchone()
        with pytest.raises(JournalError, match="database is locked"):
            open_for_reading(tmp_path / "ledger.db")

    with journal_in(tmp_path, network=True) as journal:
        assert places_of(journal, "keep") == [0, 1]
    assert mode == "truncate"
    assert files == ["ledger.db", "ledger.db-journal", "segments"]


def test_a_run_that_was_moved_to_a_network_file_system_goes_on(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        record_chain(journal, 2)

    with journal_in(tmp_path, network=True) as journal:
        record_chain(journal, 3)
        assert places_of(journal, "keep") == [0, 1, 2]
        assert journal.epoch == 2


FULL_DISK = """
import resource, sys
from pathlib import Path
from distilmq.errors import JournalError
from tests.broker.recorded import journal_in, payload_of, places_of, recorded

failed = 0
with journal_in(Path(sys.argv[1])) as journal:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for place in range(40):
        journal.append(recorded("load", place), payload_of("load", place, 5))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), most))
        try:
            journal.commit()
        except JournalError as error:
            failed += 1
            print(error, file=sys.stderr)
            assert list(journal.batches("load"))[-1][0] == ((place,) if place else ())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        if place % 2:
            journal.commit()
with journal_in(Path(sys.argv[1])) as journal:
    print(failed, places_of(journal, "load") == list(range(40)), len(journal.payload("load", (39,))))
"""


@pytest.mark.parametrize("limit", [1_000, 8_000, 20_000, 60_000, 150_000])
def test_a_commit_that_met_a_full_disk_is_done_again(tmp_path: Path, limit: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit)], capture_output=True, text=True, check=True
    )

    failed, complete, length = ran.stdout.split()
    assert int(failed) > 0
    assert (complete, length) == ("True", str(len(payload_of("load", 39))))
    assert all(str(tmp_path) in line for line in ran.stderr.splitlines())


def test_a_folder_that_cannot_be_written_is_named() -> None:
    # Root may write anywhere: the child gives that up, once everything is imported.
    code = (
        "import os, sys; from pathlib import Path; from distilmq.errors import JournalError\n"
        "from tests.broker.recorded import journal_in\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try:\n    journal_in(Path(sys.argv[1])).__enter__()\n"
        "except JournalError as error: print(error)"
    )
    # Not in `tmp_path`: pytest lets nobody else into the folders above that.
    with tempfile.TemporaryDirectory(prefix="distilmq-test-") as above:
        Path(above).chmod(0o755)
        folder = Path(above) / "run"
        folder.mkdir(mode=0o555)

        ran = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)

    assert ran.stdout.strip() == f"{folder / 'segments'}: Permission denied", ran.stderr


FORMAT_1 = """
CREATE TABLE run (
    epoch INTEGER PRIMARY KEY, host TEXT, pid INTEGER, endpoint TEXT, boot TEXT, opened REAL, closed REAL, outcome TEXT
);
CREATE TABLE step (
    name TEXT PRIMARY KEY, ordinal INTEGER, signature TEXT, fields BLOB, adopted_from TEXT
) WITHOUT ROWID;
CREATE TABLE segment (
    id INTEGER PRIMARY KEY, path TEXT, size INTEGER, boot TEXT, adopted INTEGER DEFAULT 0
);
CREATE TABLE batch (
    step TEXT, seq_no TEXT, part INTEGER,
    state INTEGER, attempt INTEGER, deaths INTEGER, rows INTEGER, taken INTEGER, last INTEGER, failed INTEGER,
    inputs BLOB, span BLOB, segment INTEGER, offset INTEGER, length INTEGER, crc INTEGER,
    routes BLOB, worker TEXT, error BLOB, time REAL,
    PRIMARY KEY (step, seq_no, part)
) WITHOUT ROWID;
CREATE INDEX batch_not_done ON batch (step, seq_no, part) WHERE state <> 1;
CREATE TABLE dead_letter (
    step TEXT, seq_no TEXT, part INTEGER, row INTEGER,
    input BLOB, error BLOB, attempt INTEGER, worker TEXT, time REAL,
    PRIMARY KEY (step, seq_no, part, row)
) WITHOUT ROWID;
CREATE TABLE answer (
    step TEXT, source TEXT, source_row INTEGER, key BLOB, occurrence INTEGER,
    segment INTEGER, offset INTEGER, length INTEGER, crc INTEGER,
    PRIMARY KEY (step, source, source_row, key, occurrence)
) WITHOUT ROWID;
CREATE TABLE cursor (
    step TEXT PRIMARY KEY, batches INTEGER, rows INTEGER
) WITHOUT ROWID;
INSERT INTO step VALUES ('ask', 0, 'sig', NULL, NULL);
INSERT INTO batch VALUES ('ask', '', 0, 1, 1, 0, 1, 1, 0, 1, X'90', X'90', 0, 0, 0, 0, NULL, 'w1', NULL, 1.0);
INSERT INTO dead_letter VALUES ('ask', '', 0, 0, X'80', X'82A474797065A3457272A76D657373616765A26E6F', 1, 'w1', 1.0);
PRAGMA user_version = 1;
"""


def old_ledger(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        connection.executescript(FORMAT_1)
    return folder / "ledger.db"


def test_a_ledger_of_the_first_format_is_brought_up_to_date(tmp_path: Path) -> None:
    old_ledger(tmp_path)

    with closing(SqliteJournal(tmp_path, clock=SystemClock())) as journal:
        (fact,) = journal.facts()
        (letter,) = journal.failures()

    assert isinstance(fact, BatchRecorded)
    assert (fact.counts, fact.failures[0].attempts) == ((), 1)
    assert (letter["error"], letter["answer"]) == ({"type": "Err", "message": "no"}, None)


def test_another_runs_ledger_of_the_first_format_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    path = old_ledger(tmp_path)
    before = path.read_bytes()

    with closing(open_for_reading(path)) as connection:
        found = connection.execute("SELECT row, answer, attempts FROM dead_letter").fetchall()

    assert found == [(0, None, 1)]
    assert path.read_bytes() == before
