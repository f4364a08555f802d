"""Rows for clients, in the order of the input, as many at a time as they have credit for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from distilmq.protocol.messages import Failures, Fetch, FetchFailures, FetchUsage, Rows, UsageReport
from distilmq.protocol.rows import join_rows, split_payload
from distilmq.protocol.seq_no import SeqNo, from_sort_key, sort_key
from distilmq.protocol.usage import WorkerUsage
from distilmq_broker.ports import Journal, Mind
from distilmq_broker.post import Post

BEGINNING = "0"
"""Cursor of the batch whose sort key is empty: it stands behind that key and before all others."""
PART_BYTES = 4 * 1024 * 1024
"""Of a message with rows; a row that is larger travels alone."""
_ROW = "/"
"""In a cursor, in front of the first row of a batch that is still to come."""
_LETTERS_AT_ONCE = 200


@dataclass(slots=True)
class _Request:
    cursor: str
    credit: int
    looked: SeqNo | None = None
    """Up to where there was nothing more the last time."""


class Fetches:
    """Requests that have credit left. While the run goes on they are served up to the first gap."""

    def __init__(self, journal: Journal, mind: Mind, post: Post) -> None:
        self._journal = journal
        self._mind = mind
        self._post = post
        self._requests: dict[tuple[str, str], _Request] = {}

    def ask(self, message: Fetch) -> None:
        """Takes a request; a later one of the same session for the same step replaces the one before."""
        self._requests[message.session, message.step] = _Request(message.cursor, message.credit)

    def serve(self, *, over: bool) -> None:
        """Sends what there is; `over` says that the run has ended and nothing more will come."""
        for key in list(self._requests):
            # One that meets a damaged record is over: going on behind it would leave rows out.
            request = self._requests.pop(key)
            self._serve(*key, request, over=over)
            if request.credit:
                self._requests[key] = request

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for rows."""
        return bool(self._requests)

    def send_failures(self, message: FetchFailures) -> None:
        """Sends the dead letters, some at a time, and an empty message behind them."""
        letters: list[dict[str, object]] = []
        for letter in self._journal.failures(message.step):
            letters.append(letter)
            if len(letters) == _LETTERS_AT_ONCE:
                self._post.send(message.session, Failures(failures=tuple(letters)))
                letters = []
        if letters:
            self._post.send(message.session, Failures(failures=tuple(letters)))
        self._post.send(message.session, Failures(failures=()))

    def send_usage(self, message: FetchUsage) -> None:
        """Sends what models took."""
        facts = self._journal.usage()
        usage = tuple(WorkerUsage(step=fact.step, worker=fact.worker, usage=fact.usage) for fact in facts)
        self._post.send(message.session, UsageReport(usage=usage))

    def _serve(self, session: str, step: str, request: _Request, *, over: bool) -> None:
        limit = None if over else self._mind.settled(step)
        if limit is not None and limit == request.looked:
            return
        request.looked = limit
        for rows, payload, cursor in self._parts(step, request.cursor, limit):
            after, request.cursor = request.cursor, cursor
            request.credit -= 1
            self._post.send(session, Rows(step=step, cursor=cursor, after=after, rows=rows), [payload])
            if not request.credit:
                return
        if limit is None:
            self._post.send(session, Rows(step=step, cursor=request.cursor, after=request.cursor, rows=0, last=True))
            request.credit = 0

    def _parts(self, step: str, cursor: str, limit: SeqNo | None) -> Iterator[tuple[int, bytes, str]]:
        """Rows from a cursor on, as many at a time as a message takes, each with the cursor behind them."""
        begun, _, row = cursor.partition(_ROW)
        if row:
            yield from self._parts_of(step, from_sort_key("" if begun == BEGINNING else begun), int(row))
        for seq_no, _ in self._journal.batches(step, begun):
            if limit is not None and seq_no >= limit:
                return
            yield from self._parts_of(step, seq_no, 0)

    def _parts_of(self, step: str, seq_no: SeqNo, start: int) -> Iterator[tuple[int, bytes, str]]:
        behind = sort_key(seq_no) or BEGINNING
        pieces = self._journal.pieces(step, seq_no, start)
        following = next(pieces, None)
        while following is not None:
            (rows, payload), following = following, next(pieces, None)
            for count, part in _cut(rows, payload):
                start += count
                rows -= count
                yield count, part, f"{behind}{_ROW}{start}" if rows or following is not None else behind


def _cut(rows: int, payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Rows that were recorded together, as many at a time as a message takes."""
    if len(payload) <= PART_BYTES:
        yield rows, payload
        return
    each = split_payload(payload)
    start = 0
    while start < len(each):
        stop = _within(each, start, PART_BYTES)
        yield stop - start, join_rows(each[start:stop])
        start = stop


def _within(rows: Sequence[bytes], start: int, size: int) -> int:
    """Up to where rows fit into so many bytes; one at least."""
    stop, taken = start, 0
    while stop < len(rows) and (stop == start or taken + len(rows[stop]) <= size):
        taken += len(rows[stop])
        stop += 1
    return stop
