"""Calling the user's `process` for a batch: whatever it does, an answer that names the rows comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from distilmq.errors import DrainedError, JoinError, RowTypeError, StepFatalError
from distilmq.models.requests.answers import current_answers, failed_requests
from distilmq.models.requests.meter import Meter, current_meter
from distilmq.protocol.messages import Assign, Batch, ErrorInfo, Failed, Lease, Result, Returned, RowFailure
from distilmq.protocol.rows import (
    decode_each,
    decode_row,
    encode_each,
    encode_row,
    encode_value,
    join_rows,
    split_payload,
)
from distilmq_workers.book import AnswerPage, BatchAnswers, recorded_answers
from distilmq_workers.failures import describe, failed_row, together, within_budget
from distilmq_workers.generating import Generating
from distilmq_workers.halving import Piece, in_halves

Row = dict[str, Any]

HEADER_ROOM = 4 * 1024 * 1024
"""Bytes of a message that are left for its header; of a small message a quarter."""


class RunnableStep(Protocol):
    """What the runner needs of a step."""

    name: str

    def process_applying_mappings(self, *inputs: Any, **offset: Any) -> Iterator[Any]:
        """Lists of rows, or of a generator pairs of rows and whether they are the last."""
        ...

    def get_outputs(self) -> dict[str, bool]:
        """The columns it adds."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """What there is to say about a batch."""

    answer: Result | Failed | Returned
    payload: tuple[bytes, ...] = ()


class Runner:
    """Runs one step.

    Args:
        step: loaded.
        assign: what the coordinator said about it.
        session: of this process.
        keep_answer: told of each answer of a model, with the batch it belongs to.
        draining: whether models may send no new request.
        max_message: bytes of the largest message that the coordinator takes; None for any.
    """

    def __init__(
        self,
        step: RunnableStep,
        assign: Assign,
        *,
        session: str,
        keep_answer: Callable[[Lease, int, bytes, int, bytes], None],
        draining: Callable[[], bool],
        max_message: Callable[[], int | None],
    ) -> None:
        self.meter = Meter()
        """What the step has had from models since it was loaded."""
        self._step = step
        self._assign = assign
        self._session = session
        self._keep_answer = keep_answer
        self._draining = draining
        self._max_message = max_message
        self._outputs = assign.outputs or tuple(step.get_outputs())
        self._stateful = assign.stateful or bool(getattr(step, "stateful", False))
        self._equal_inputs = bool(getattr(step, "equal_inputs", False))
        self._generating = Generating(lambda offset: step.process_applying_mappings(offset=offset))

    def run(self, batch: Batch, payload: Sequence[bytes]) -> Ended:
        """The answer to a batch; never raises."""
        began = time.perf_counter()
        token = current_meter.set(self.meter)
        try:
            ended = self._run(batch, payload)
        finally:
            current_meter.reset(token)
        more: dict[str, Any] = {"usage": usage} if (usage := self.meter.totals()) else {}
        if isinstance(ended.answer, Result):
            more["seconds"] = time.perf_counter() - began
        return Ended(ended.answer.model_copy(update=more), ended.payload) if more else ended

    def _run(self, batch: Batch, payload: Sequence[bytes]) -> Ended:
        try:
            return self._generate(batch) if self._assign.step_kind == "generator" else self._process(batch, payload)
        except DrainedError:
            return Ended(Returned(session=self._session, lease=batch.lease))
        except BaseException as error:  # noqa: BLE001  # whatever the user's code raised has to become an answer
            return Ended(Failed(session=self._session, lease=batch.lease, error=describe(error)))

    # ---------------------------------------------------------------- generators

    def _generate(self, batch: Batch) -> Ended:
        number = batch.lease.seq_no[0] if batch.lease.seq_no else 0
        rows, last = self._generating.take(number, batch.offset)
        failures: list[RowFailure] = []
        try:
            encoded = encode_each(rows)
        except RowTypeError:
            encoded = [self._encoded_or_bare(place, row, failures) for place, row in enumerate(rows)]
        return self._result(batch, encoded, failures, last=last)

    # ---------------------------------------------------------------- normal and global steps

    def _process(self, batch: Batch, payload: Sequence[bytes]) -> Ended:
        inputs = [split_payload(frame) for frame in payload[: len(batch.inputs)]]
        if self._equal_inputs:
            check_equal_inputs(self._step.name, batch.inputs, [len(rows) for rows in inputs])
        book = BatchAnswers(
            recorded_answers(payload[len(batch.inputs)]) if batch.answers else (),
            keep=partial(self._keep_answer, batch.lease),
            draining=self._draining,
        )
        # A request that was refused for good is not sent again while the batch is halved.
        failed_requests.set({})
        pieces = in_halves(
            lambda start, stop: self._call([rows[start:stop] for rows in inputs], book.page(start)),
            max((len(rows) for rows in inputs), default=0),
            passes=self._ends_the_run,
            divide=not self._stateful,
        )
        return self._put_together(batch, inputs, pieces)

    def _ends_the_run(self, error: BaseException) -> bool:
        return self._assign.step_kind == "global" or isinstance(error, StepFatalError | DrainedError)

    def _call(self, inputs: Sequence[Sequence[bytes]], page: AnswerPage) -> list[Row]:
        # Decoded for each call: the one before may have changed the rows it was given.
        rows = [decode_each(branch) for branch in inputs]
        token = current_answers.set(page)
        try:
            return [row for given in self._step.process_applying_mappings(*rows) for row in given]
        finally:
            current_answers.reset(token)

    def _put_together(
        self, batch: Batch, inputs: Sequence[Sequence[bytes]], pieces: Sequence[Piece[list[Row]]]
    ) -> Ended:
        encoded: list[bytes] = []
        failures: list[RowFailure] = []
        explained: ErrorInfo | None = None
        for piece in pieces:
            if piece.error is not None:
                # Rows that fail together share one description; only the first tells the whole story.
                error = describe(piece.error) if explained is None or not self._stateful else explained
                explained = error.model_copy(update={"traceback": "", "pickled": None})
                encoded.append(self._fail(inputs, piece.start, error, failures))
                continue
            given = cast("list[Row]", piece.given)
            encoded += self._encoded(inputs, piece, given, len(encoded), failures)
        return self._result(batch, encoded, failures)

    # ---------------------------------------------------------------- rows

    def _encoded(
        self,
        inputs: Sequence[Sequence[bytes]],
        piece: Piece[list[Row]],
        given: list[Row],
        before: int,
        failures: list[RowFailure],
    ) -> list[bytes]:
        """The rows of a piece; `before` of them came from the pieces before it."""
        try:
            return encode_each(given)
        except RowTypeError:
            # Some of them cannot travel: looked at one by one.
            pass
        if len(given) == piece.stop - piece.start and self._assign.step_kind == "normal":
            return [
                self._encoded_or_failed(inputs, piece.start + place, row, failures) for place, row in enumerate(given)
            ]
        return [self._encoded_or_bare(before + place, row, failures) for place, row in enumerate(given)]

    def _encoded_or_failed(
        self, inputs: Sequence[Sequence[bytes]], place: int, row: Row, failures: list[RowFailure]
    ) -> bytes:
        """A row of a step that gives one for one: one that cannot travel fails like one that raised."""
        try:
            return encode_row(row)
        except RowTypeError as error:
            return self._fail(inputs, place, self._named(error), failures)

    def _encoded_or_bare(self, place: int, row: Row, failures: list[RowFailure]) -> bytes:
        """A row that belongs to no one input row: one that cannot travel loses the columns that cannot."""
        try:
            return encode_row(row)
        except RowTypeError as error:
            named = self._named(error)
        if not isinstance(row, dict):  # pyright: ignore[reportUnnecessaryIsInstance]  # steps give anything
            raise StepFatalError(named.message)
        bare = {str(column): value if _can_travel(value) else None for column, value in row.items()}
        encoded = encode_row(failed_row(bare, step=self._step.name, outputs=(), error=named))
        failures.append(RowFailure(row=place, error=named, input=encode_row(bare)))
        return encoded

    def _fail(
        self, inputs: Sequence[Sequence[bytes]], place: int, error: ErrorInfo, failures: list[RowFailure]
    ) -> bytes:
        branches = [rows[place] for rows in inputs if place < len(rows)]
        rows = [decode_row(row) for row in branches]
        whole = branches[0] if len(branches) == 1 else encode_value(rows)
        failures.append(RowFailure(row=place, error=error, input=whole))
        return encode_row(failed_row(together(rows), step=self._step.name, outputs=self._outputs, error=error))

    def _named(self, error: RowTypeError) -> ErrorInfo:
        return ErrorInfo(type="RowTypeError", message=f"the output of step '{self._step.name}': {error}")

    def _result(
        self, batch: Batch, encoded: list[bytes], failures: Sequence[RowFailure], *, last: bool = False
    ) -> Ended:
        payload = join_rows(encoded)
        largest = self._max_message()
        limit = None if largest is None else largest - min(HEADER_ROOM, largest // 4)
        if limit is not None and len(payload) > limit:
            raise StepFatalError(
                f"a batch of step '{self._step.name}' gave {len(encoded):,} rows of together {len(payload):,} bytes,"
                f" and a message holds at most {limit:,}; make `{self._size_name}` smaller"
            )
        result = Result(
            session=self._session,
            lease=batch.lease,
            rows=len(encoded),
            last=last,
            failures=within_budget(failures) if failures else (),
        )
        return Ended(result, (payload,))

    @property
    def _size_name(self) -> str:
        return "batch_size" if self._assign.step_kind == "generator" else "input_batch_size"


def check_equal_inputs(step: str, names: Sequence[str], counts: Sequence[int]) -> None:
    """Raises JoinError unless all lists are equally long."""
    if len(set(counts)) > 1:
        listed = ", ".join(f"'{name}' gave {count}" for name, count in zip(names, counts, strict=True))
        raise JoinError(
            f"The step '{step}' joins rows one by one, but the lists it was given differ in length: {listed} row(s)."
            " Each of these steps has to give as many rows as it takes: a filter or an expander has its place"
            " before the branches part or behind the join."
        )


def _can_travel(value: Any) -> bool:
    try:
        encode_value(value)
    except RowTypeError:
        return False
    return True
