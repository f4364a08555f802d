"""Facts as rows of the ledger, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from distilmq.protocol.messages import ErrorInfo, RowFailure, UselessAnswer
from distilmq.protocol.packing import pack, unpack
from distilmq.protocol.seq_no import from_sort_key, sort_key
from distilmq.protocol.usage import Usage
from distilmq_broker.adapters.large_payloads import Piece
from distilmq_broker.adapters.ledger import DONE, HALVED, OPEN
from distilmq_broker.adapters.segments import Place
from distilmq_broker.core.facts import (
    AnswerRecorded,
    BatchHalved,
    BatchRecorded,
    DeathCounted,
    Fact,
    JobEnded,
    JobPlanned,
    JobStarted,
    LimitLearnt,
    RouteRecorded,
    RowsBuried,
    Segment,
    Slice,
    Span,
    UsageRecorded,
)

Statement = tuple[str, tuple[Any, ...]]
"""SQL with its parameters."""

_BATCH = (
    "INSERT INTO batch (step, seq_no, part, state, attempt, deaths, rows, taken, last, failed, inputs, span,"
    " segment, offset, length, crc, worker, error, time, counts, pieces)"
    " VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (step, seq_no, part) DO UPDATE SET state = excluded.state, attempt = excluded.attempt,"
    " rows = excluded.rows, taken = excluded.taken, last = excluded.last, failed = excluded.failed,"
    " inputs = excluded.inputs, span = excluded.span, segment = excluded.segment, offset = excluded.offset,"
    " length = excluded.length, crc = excluded.crc, worker = excluded.worker, error = excluded.error,"
    " time = excluded.time, counts = excluded.counts, pieces = excluded.pieces WHERE batch.state = 0"
)
_DEATH = (
    "INSERT INTO batch (step, seq_no, part, state, attempt, deaths, time) VALUES (?, ?, ?, 0, ?, ?, ?)"
    " ON CONFLICT (step, seq_no, part) DO UPDATE SET deaths = excluded.deaths, attempt = excluded.attempt,"
    " time = excluded.time WHERE batch.state = 0"
)
_ROUTE = "UPDATE batch SET routes = ? WHERE step = ? AND seq_no = ? AND part = 0"
_LETTER = (
    "INSERT OR IGNORE INTO dead_letter (step, seq_no, part, row, input, error, attempt, worker, time, answer, attempts,"
    " out) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ANSWER = (
    "INSERT OR IGNORE INTO answer (step, source, source_row, key, occurrence, segment, offset, length, crc)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_JOB = "INSERT OR IGNORE INTO job (step, job, size, time) VALUES (?, ?, ?, ?)"
_JOB_REQUEST = (
    "INSERT OR REPLACE INTO job_request (step, source, source_row, key, occurrence, job, number, tries)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
USAGE_COLUMNS = (
    "step, worker, model, requests, input_tokens, output_tokens, cost, unpriced, seconds, input_untold, output_untold"
)
_USAGE = (
    f"INSERT INTO usage ({USAGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (step, model, worker) DO UPDATE SET requests = excluded.requests,"
    " input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, cost = excluded.cost,"
    " unpriced = excluded.unpriced, seconds = excluded.seconds, input_untold = excluded.input_untold,"
    " output_untold = excluded.output_untold WHERE excluded.requests > usage.requests"
)
LIMIT_COLUMNS = "account, places, requests, settled"
_LIMIT = f"INSERT OR REPLACE INTO learnt_limit ({LIMIT_COLUMNS}) VALUES (?, ?, ?, ?)"
FACT_COLUMNS = (
    "step, seq_no, part, state, attempt, deaths, rows, taken, last, failed, inputs, span, routes, worker, error, counts"
)
_OF_ROWS = "step = ? AND source = ? AND source_row >= ? AND source_row < ?"
_ONE_ANSWER = "step = ? AND source = ? AND source_row = ? AND key = ? AND occurrence = ?"
NOWHERE = Place(0, 0, 0, 0)


def recorded(
    fact: BatchRecorded, place: Place, time: float, pieces: Iterable[Piece] | None = None
) -> Iterator[Statement]:
    """A finished batch with its failed rows, and the pieces that it lies in where it is large."""
    key = (fact.step, sort_key(fact.seq_no), fact.part)
    yield (
        _BATCH,
        (
            *(*key, DONE, fact.attempt, fact.rows, fact.taken, fact.last, len(fact.failures)),
            *(pack_inputs(fact.inputs), _pack_span(fact.span)),
            *(place.segment, place.offset, place.length, place.crc, fact.worker, None, time),
            pack(list(fact.counts)) if fact.counts else None,
            None if pieces is None else pack_pieces(pieces),
        ),
    )
    for failure in fact.failures:
        error = pack(failure.error.model_dump())
        told = (failure.answer, failure.attempts, failure.out)
        yield _LETTER, (*key, failure.row, failure.input, error, fact.attempt, fact.worker, time, *told)


def given_up(fact: BatchHalved | RowsBuried, state: int, place: Place, rows: int, time: float) -> Iterator[Statement]:
    """A batch that was halved, or buried with the place of its None row."""
    key = (fact.step, sort_key(fact.seq_no), fact.part)
    error = pack(fact.error.model_dump()) if isinstance(fact, RowsBuried) else None
    yield (
        _BATCH,
        (
            *(*key, state, 0, rows, rows, False, 0, pack_inputs(fact.inputs), _pack_span(fact.span)),
            *(place.segment, place.offset, place.length, place.crc, "", error, time, None, None),
        ),
    )


def buried_letter(fact: RowsBuried, row: bytes, time: float) -> Statement:
    """The dead letter of a row that killed its workers."""
    key = (fact.step, sort_key(fact.seq_no), fact.part)
    return _LETTER, (*key, 0, row, pack(fact.error.model_dump()), 0, "", time, None, 1, False)


def death(fact: DeathCounted, time: float) -> Statement:
    """A worker died with the batch."""
    return _DEATH, (fact.step, sort_key(fact.seq_no), fact.part, fact.attempt, fact.deaths, time)


def route(fact: RouteRecorded) -> Statement:
    """The choice for a batch."""
    return _ROUTE, (pack(list(fact.successors)), fact.step, sort_key(fact.seq_no))


def answer(fact: AnswerRecorded, place: Place) -> Statement:
    """A model's answer."""
    key = (fact.step, sort_key(fact.source), fact.source_row, fact.key, fact.occurrence)
    return _ANSWER, (*key, place.segment, place.offset, place.length, place.crc)


def forgotten(table: str, fact: BatchRecorded) -> Iterator[Statement]:
    """What is known of the requests of a batch goes."""
    for part in _first_input(fact):
        where = (fact.step, sort_key(part.seq_no), part.start, part.stop)
        yield f"DELETE FROM {table} WHERE {_OF_ROWS}", where


def left_answers(fact: BatchRecorded) -> Iterator[Statement]:
    """Of a batch with failed rows all answers stay, but for those that a failure came from: of these others are lost.

    A revision asks for nothing else.
    """
    for part in _first_input(fact):
        where = (fact.step, sort_key(part.seq_no), part.start, part.stop)
        yield f"UPDATE answer SET lost = ? WHERE {_OF_ROWS} AND lost IS NULL", (pack([]), *where)
    for failure in fact.failures:
        if failure.useless and (origin := _origin(fact, failure.row)) is not None:
            yield from (_without(answer, (fact.step, *origin)) for answer in failure.useless)


def _without(answer: UselessAnswer, of: tuple[str, str, int]) -> Statement:
    """Takes an answer, or some of its generations, out of those to a row."""
    where = (*of, answer.key, answer.occurrence)
    if answer.generations:
        return f"UPDATE answer SET lost = ? WHERE {_ONE_ANSWER}", (pack(list(answer.generations)), *where)
    return f"DELETE FROM answer WHERE {_ONE_ANSWER}", where


def _first_input(fact: BatchRecorded) -> tuple[Slice, ...]:
    """The rows that requests are told apart by: of a join, those of its first branch."""
    return next((slices for slices in fact.inputs if slices), ())


def _origin(fact: BatchRecorded, row: int) -> tuple[str, int] | None:
    """Where a row of a batch came from: the sort key of the batch, and its row there."""
    for part in _first_input(fact):
        if row < part.stop - part.start:
            return sort_key(part.seq_no), part.start + row
        row -= part.stop - part.start
    return None


def planned(fact: JobPlanned, time: float) -> Iterator[Statement]:
    """Requests that go into a batch job, in the place of where they went before."""
    yield _JOB, (fact.step, fact.job, fact.size, time)
    for each in fact.requests:
        key = (fact.step, sort_key(each.source), each.source_row, each.key, each.occurrence)
        yield _JOB_REQUEST, (*key, fact.job, each.number, each.tries)


def job_news(fact: JobStarted | JobEnded) -> Statement:
    """A batch job was taken by its provider, or is over."""
    if isinstance(fact, JobStarted):
        return "UPDATE job SET id = ? WHERE step = ? AND job = ?", (fact.id, fact.step, fact.job)
    return "UPDATE job SET ended = 1 WHERE step = ? AND job = ?", (fact.step, fact.job)


def usage(fact: UsageRecorded) -> Statement:
    """What a process has had from a model; an earlier total of it goes."""
    had = fact.usage
    amounts = (had.requests, had.input_tokens, had.output_tokens, had.cost, had.unpriced, had.seconds)
    return _USAGE, (fact.step, fact.worker, had.model, *amounts, had.input_untold, had.output_untold)


def to_usage_fact(row: tuple[Any, ...]) -> UsageRecorded:
    """The fact of a row of `USAGE_COLUMNS`."""
    step, worker, *amounts = row
    names = [name.strip() for name in USAGE_COLUMNS.split(",")][2:]
    return UsageRecorded(step, worker, Usage(**dict(zip(names, amounts, strict=True))))


def limit(fact: LimitLearnt) -> Statement:
    """What an account takes; what was known of it goes."""
    return _LIMIT, (fact.account, fact.places, fact.requests, fact.settled)


def to_limit_fact(row: tuple[Any, ...]) -> LimitLearnt:
    """The fact of a row of `LIMIT_COLUMNS`."""
    account, places, requests, settled = row
    return LimitLearnt(account, places, requests, bool(settled))


def to_fact(row: tuple[Any, ...], failures: tuple[RowFailure, ...]) -> Fact:
    """The fact of a row of `FACT_COLUMNS`."""
    step, key, part, state, attempt, deaths, rows, taken, last, _, inputs, span, _, worker, error, counts = row
    seq_no = from_sort_key(key)
    if state == OPEN:
        return DeathCounted(step, seq_no, part, deaths, attempt)
    slices, spans = unpack_inputs(inputs), _unpack_span(span)
    if state == DONE:
        each = tuple(unpack(counts)) if counts else ()
        return BatchRecorded(
            step, seq_no, part, slices, spans, rows, taken, attempt, worker, bool(last), failures, each
        )  # fmt: skip
    if state == HALVED:
        return BatchHalved(step, seq_no, part, slices, spans)
    return RowsBuried(step, seq_no, part, slices, spans, ErrorInfo.model_validate(unpack(error)))


def to_answer_fact(step: str, source: str, row: int, key: bytes, occurrence: int) -> AnswerRecorded:
    """The fact of a row of the answers."""
    return AnswerRecorded(step, from_sort_key(source), row, key, occurrence)


FAILURE_COLUMNS = "row, error, input, answer, attempts, out"


def to_failure(row: int, error: bytes, data: bytes, answer: str | None, attempts: int, out: int) -> RowFailure:
    """A dead letter, in `FAILURE_COLUMNS`, as the worker sent it."""
    known = ErrorInfo.model_validate(unpack(error))
    return RowFailure(row=row, error=known, input=data, answer=answer, attempts=attempts, out=bool(out))


def pack_inputs(inputs: Iterable[Iterable[Slice]]) -> bytes:
    """What a batch took, as msgpack."""
    return pack([[[s.step, s.seq_no, s.start, s.stop] for s in slices] for slices in inputs])


def unpack_inputs(data: bytes) -> tuple[tuple[Slice, ...], ...]:
    """What `pack_inputs` was given."""
    return tuple(
        tuple(Slice(step, tuple(seq_no), start, stop) for step, seq_no, start, stop in slices)
        for slices in unpack(data)
    )


def pack_pieces(pieces: Iterable[Piece]) -> bytes:
    """What a large payload consists of, as msgpack."""
    return pack([[piece.rows, piece.length, piece.crc] for piece in pieces])


def placed_pieces(place: Place, rows: int, pieces: bytes | None) -> tuple[tuple[int, Place], ...]:
    """Rows and place of each piece of a payload; one that is not large is its only one."""
    if pieces is None:
        return ((rows, place),)
    found: list[tuple[int, Place]] = []
    at = place.offset
    for count, length, crc in unpack(pieces):
        found.append((count, Place(place.segment, at, length, crc)))
        at += length
    return tuple(found)


def _pack_span(span: Span) -> bytes:
    if not span:
        return b"\x90"
    return pack(
        [
            [fork, [[s.rows, s.first, s.start, s.last, s.stop, s.aligned, s.closed] for s in segments]]
            for fork, segments in span
        ]
    )


def _unpack_span(data: bytes) -> Span:
    return tuple(
        (
            fork,
            tuple(
                Segment(rows, tuple(first), start, tuple(last), stop, aligned, closed)
                for rows, first, start, last, stop, aligned, closed in segments
            ),
        )
        for fork, segments in unpack(data)
    )
