"""Records wait for each other, never long, and a commit that fails is tried again."""

from __future__ import annotations

from pathlib import Path

from distilmq.errors import JournalError
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.core.events import CommitFailed, Committed
from distilmq_broker.crash_points import CrashPoints
from distilmq_broker.group_commit import MAX_RECORDS, GroupCommit
from tests.broker.recorded import journal_in, payload_of, places_of, recorded


def test_nothing_is_due_before_something_was_recorded(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        group = GroupCommit(journal, CrashPoints())

        assert not group.due(100.0, dry=True)
        assert group.deadline() is None


def test_a_dry_socket_a_full_group_or_five_milliseconds_commit(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        group = GroupCommit(journal, CrashPoints())
        _add(group, 1, now=10.0)

        assert group.due(10.0, dry=True)
        assert not group.due(10.004, dry=False)
        assert group.due(group.deadline() or 0.0, dry=False)
        assert group.deadline() == 10.005
        for ticket in range(2, MAX_RECORDS + 1):
            assert not group.due(10.0, dry=False)
            _add(group, ticket, now=10.0)
        assert group.due(10.0, dry=False)


def test_a_commit_answers_with_the_last_ticket(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        group = GroupCommit(journal, CrashPoints())
        for ticket in (1, 2, 3):
            _add(group, ticket, now=0.0)

        answer = group.commit(0.0)

        assert answer == Committed(3)
        assert not group.due(100.0, dry=True)


def test_a_failed_commit_is_tried_again_a_second_later_with_what_came_meanwhile(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        full = _FullDisk(journal)
        group = GroupCommit(full, CrashPoints())
        _add(group, 1, now=50.0)

        failed = group.commit(50.0)
        _add(group, 2, now=50.2)

        assert failed == CommitFailed("disk full")
        assert not group.due(50.9, dry=True)
        assert group.deadline() == 51.0
        full.free = True
        assert group.due(51.0, dry=False)
        assert group.commit(51.0) == Committed(2)
        assert places_of(journal, "load") == [1, 2]


class _FullDisk(SqliteJournal):
    """A journal whose commits fail until there is room."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.free = False
        self.append = journal.append  # type: ignore[method-assign]

    def commit(self) -> None:
        """Fails while there is no room."""
        if not self.free:
            raise JournalError("disk full")
        self._journal.commit()


def _add(group: GroupCommit, ticket: int, *, now: float) -> None:
    group.add(ticket, recorded("load", ticket), payload_of("load", ticket), now)
