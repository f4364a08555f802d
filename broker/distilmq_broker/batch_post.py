"""Sending batches: the header says what follows, and the rows of a large batch are asked for part by part.

A part is read when it is asked for and goes to one worker, which asks for the next one when it is there: what is on
its way to a worker is one part, however many rows its batch has. Nothing is kept of what was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from distilmq.errors import JournalError
from distilmq.protocol import messages
from distilmq.protocol.messages import Cursor, Lease
from distilmq.protocol.packing import pack
from distilmq_broker.core.commands import SendBatch, SendPart
from distilmq_broker.core.facts import Slice
from distilmq_broker.crash_points import CrashPoints
from distilmq_broker.logbook import Logbook
from distilmq_broker.passing import Passing
from distilmq_broker.ports import BEGINNING, Journal
from distilmq_broker.post import Post
from distilmq_broker.sessions import Sessions
from distilmq_broker.settings import MAX_PART


class BatchPost:
    """Reads rows where they are recorded, and sends them to who is to work on them.

    Args:
        passing: puts rows into files where they are to go by way of these.
        max_part: bytes of rows that go at once.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        sessions: Sessions,
        post: Post,
        crash: CrashPoints,
        log: Logbook,
        passing: Passing,
        max_part: int = MAX_PART,
    ) -> None:
        self._passing = passing
        self._journal = journal
        self._sessions = sessions
        self._post = post
        self._crash = crash
        self._log = log
        self._max_part = max_part

    def send(self, command: SendBatch, acked: Sequence[Lease]) -> None:
        """Sends a batch, with what is known already of its rows, and what is acknowledged by the way."""
        member = self._sessions.find(command.session)
        if member is None:
            return
        step, slices = command.lease.step, [part for _, part in command.inputs]
        apart = member.hello.parts and bool(slices) and self._passing.storage(step) is not None
        rows = None if apart else self._rows(slices, in_parts=member.hello.parts)
        answers = self._journal.answers(step, slices[0]) if slices else []
        kept = self._journal.kept(step, slices) if slices else []
        jobs = self._journal.in_jobs(step, slices[0]) if slices else []
        first = self._first(command.first)
        batch = messages.Batch(
            lease=command.lease,
            inputs=tuple(name for name, _ in command.inputs),
            rows=tuple(sum(part.stop - part.start for part in each) for each in slices),
            offset=command.offset,
            answers=bool(answers),
            kept=bool(kept),
            jobs=bool(jobs),
            epoch=self._journal.epoch,
            acked=tuple(acked),
            parts=rows is None,
            first=bool(first),
        )
        known = [pack(entries) for entries in (answers, kept, jobs) if entries]
        self._post.send(command.session, batch, [*(rows or ()), *known, *first])
        if acked:
            self._crash.reach("before_send")
        if self._log.debugs:
            self._log.debug("batch_sent", session=command.session, lease=command.lease.model_dump(), parts=rows is None)

    def send_part(self, command: SendPart) -> None:
        """Sends more rows of a batch; a place that is none of its own, nobody of ours asks for."""
        lease = command.lease
        if self._passing.storage(lease.step) is not None:
            name = (lease.step, lease.seq_no, lease.part, command.cursor)
            read, send = partial(self._read_part, command), partial(self._post_part, command.session)
            self._passing.put_away(command.session, name, read, send)
        elif (found := self._read_part(command)) is not None:
            part, data = found
            self._post_part(command.session, part, [data])

    def _read_part(self, command: SendPart) -> tuple[messages.BatchPart, bytes] | None:
        found = self._part(command.inputs, command.cursor)
        if found is None:
            self._log.warning("no_such_part", lease=command.lease.model_dump(), cursor=command.cursor)
            return None
        place, data, behind = found
        return messages.BatchPart(lease=command.lease, input=place, cursor=command.cursor, next=behind), data

    def _post_part(self, session: str, part: messages.BatchPart, payload: Sequence[bytes]) -> None:
        self._post.send(session, part, payload)
        self._crash.reach("after_part")
        if self._log.debugs:
            size = sum(map(len, payload)) if part.file is None else part.file.size
            self._log.debug("part_sent", session=session, bytes=size, next=part.next, by_file=part.file is not None)

    def _rows(self, slices: Sequence[Sequence[Slice]], *, in_parts: bool) -> list[bytes] | None:
        """The rows of each input; None where they are too many to go at once."""
        if in_parts and sum(map(self._journal.size, slices)) > self._max_part:
            return None
        rows = [self._journal.rows(each) for each in slices]
        return None if in_parts and sum(map(len, rows)) > self._max_part else rows

    def _first(self, slices: Sequence[Slice]) -> list[bytes]:
        """The frame with a generator's first row; none where it cannot be read, which whoever needs it will say."""
        try:
            return [self._journal.rows(slices)] if slices else []
        except JournalError:
            return []

    def _part(self, inputs: Sequence[Sequence[Slice]], cursor: Cursor) -> tuple[int, bytes, Cursor] | None:
        """Of which input the rows at a place are, their bytes, and the place behind them."""
        place, *at = cursor or (0, *BEGINNING)
        if len(at) != len(BEGINNING) or not 0 <= place < len(inputs):
            return None
        try:
            data, behind = self._journal.part(inputs[place], (at[0], at[1], at[2]), self._max_part)
        except ValueError:
            return None
        if behind is not None:
            return place, data, (place, *behind)
        return place, data, (place + 1, *BEGINNING) if place + 1 < len(inputs) else ()
