"""The ledger's file: its tables, how it is opened, and how an older one is brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from distilmq.errors import JournalError
from distilmq_broker.adapters.file_systems import on_network

FORMAT = 7
"""Of the ledger. Older ones are brought up to date when their run goes on; other runs read a copy that is."""

OPEN, DONE, HALVED, BURIED = 0, 1, 2, 3
"""States of a batch: deaths were counted; recorded; replaced by its halves; given up, with a None row."""

_TABLES = """
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
"""
"""Of format 1; what came later is in the steps from each format to the next."""

_MIGRATIONS = {
    0: _TABLES,
    1: """
CREATE TABLE usage (
    step TEXT, model TEXT, worker TEXT,
    requests INTEGER, input_tokens INTEGER, output_tokens INTEGER, cost REAL, unpriced INTEGER, seconds REAL,
    PRIMARY KEY (step, model, worker)
) WITHOUT ROWID;
""",
    2: """
ALTER TABLE batch ADD COLUMN counts BLOB;
ALTER TABLE dead_letter ADD COLUMN answer TEXT;
ALTER TABLE dead_letter ADD COLUMN attempts INTEGER DEFAULT 1;
ALTER TABLE dead_letter ADD COLUMN out INTEGER DEFAULT 0;
CREATE TABLE kept (
    step TEXT, source TEXT, source_row INTEGER, digest BLOB,
    segment INTEGER, offset INTEGER, length INTEGER, crc INTEGER, start INTEGER, stop INTEGER, failure BLOB,
    PRIMARY KEY (step, source, source_row)
) WITHOUT ROWID;
""",
    3: """
CREATE TABLE learnt_limit (
    account BLOB PRIMARY KEY, places REAL, requests REAL, settled INTEGER
) WITHOUT ROWID;
""",
    4: """
CREATE TABLE job (
    step TEXT, job TEXT, size INTEGER, id TEXT DEFAULT '', ended INTEGER DEFAULT 0, time REAL,
    PRIMARY KEY (step, job)
) WITHOUT ROWID;
CREATE TABLE job_request (
    step TEXT, source TEXT, source_row INTEGER, key BLOB, occurrence INTEGER, job TEXT, number INTEGER, tries INTEGER,
    PRIMARY KEY (step, source, source_row, key, occurrence)
) WITHOUT ROWID;
""",
    5: """
ALTER TABLE batch ADD COLUMN pieces BLOB;
""",
    6: """
ALTER TABLE answer ADD COLUMN lost BLOB;
ALTER TABLE usage ADD COLUMN input_untold INTEGER DEFAULT 0;
ALTER TABLE usage ADD COLUMN output_untold INTEGER DEFAULT 0;
""",
}
"""Format to what makes the next one of it."""


def open_ledger(path: Path, *, power: bool, network: bool | None = None) -> tuple[sqlite3.Connection, bool]:
    """Opens or makes the ledger.

    Args:
        path: its file.
        power: whether a commit must survive a power loss.
        network: whether the file lies on a network file system; None to find out.

    Returns:
        The connection, without implicit transactions, and whether it keeps a write-ahead log.

    Raises:
        JournalError: it cannot be opened, is damaged, or was written by a newer version.
    """
    shared = not (on_network(path.parent) if network is None else network)
    with ledger_errors(path):
        connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        path.chmod(0o600)
        _configure(connection, shared=shared, power=power)
        _migrate(connection, path)
    return connection, shared


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Opens another run's ledger; nothing is written to it. One of an older format is copied into memory.

    Raises:
        JournalError: it cannot be read, or has a newer format.
    """
    with ledger_errors(path):
        connection = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, isolation_level=None, timeout=1.0)
        try:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if 1 <= found < FORMAT:
                connection = _copy_in_memory(connection)
                _migrate(connection, path)
        except sqlite3.Error:
            connection.close()
            raise
    if not 1 <= found <= FORMAT:
        connection.close()
        raise JournalError(f"{path} has format {found}, this version reads 1 to {FORMAT}")
    return connection


def _copy_in_memory(connection: sqlite3.Connection) -> sqlite3.Connection:
    with closing(connection):
        copy = sqlite3.connect(":memory:", isolation_level=None)
        connection.backup(copy)
        return copy


@contextmanager
def ledger_errors(path: Path) -> Generator[None]:
    """Turns what SQLite and the file system raise into a `JournalError` that names the file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise JournalError(f"{path}: {error}") from error
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error


def _configure(connection: sqlite3.Connection, *, shared: bool, power: bool) -> None:
    if shared:
        connection.execute("PRAGMA journal_mode = WAL")
        # Checkpoints are made by the journal between two groups, never within a commit.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")
    else:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
    # A full disk is to be met in COMMIT, where it is answered, never in a statement before.
    connection.execute("PRAGMA cache_spill = OFF")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > FORMAT:
        raise JournalError(f"{path} was written by a newer version of distilmq (format {found}, this one is {FORMAT})")
    for number in range(found, FORMAT):
        connection.executescript(f"BEGIN IMMEDIATE; {_MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
