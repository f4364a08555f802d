"""Calling the user's `process` for a batch: whatever it does, an answer that names the rows comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, cast

from distilmq.errors import DrainedError, JoinError, RowTypeError, StepFatalError
from distilmq.models.batches.book import current_jobs
from distilmq.models.requests.answers import current_answers, failed_requests, rows_given
from distilmq.models.requests.meter import Meter, current_meter
from distilmq.protocol.messages import Assign, Batch, ErrorInfo, Failed, Lease, Result, Returned, RowFailure
from distilmq.protocol.rows import (
    decode_each,
    decode_row,
    encode_each,
    encode_row,
    encode_value,
    split_payload,
)
from distilmq.steps.remarks import Remarks, current_remarks
from distilmq_workers.book import AnswerPage, BatchAnswers, recorded_answers
from distilmq_workers.failures import (
    MAX_ANSWER,
    answer_of,
    attempts_of,
    describe,
    failed_row,
    together,
    within_budget,
)
from distilmq_workers.generating import Generating
from distilmq_workers.halving import Piece, in_halves
from distilmq_workers.jobs import BatchJobs, JobOffice, JobPage, recorded_jobs
from distilmq_workers.kept import Computed, gaps, kept_rows, put_together
from distilmq_workers.lacking import lacking
from distilmq_workers.passing_over import looks_at
from distilmq_workers.pieces import frames_of

Row = dict[str, Any]


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
    lacks: ErrorInfo | None = None
    """Of a batch that goes back because a package is missing here: what was raised."""


@dataclass(frozen=True, slots=True)
class Given:
    """What one call of `process` gave."""

    rows: list[Row]
    remarks: Remarks

    def counts(self, taken: int) -> list[int] | None:
        """Rows per row of the input, as far as that is known."""
        told = self.remarks.counts
        if told is not None and len(told) == taken and sum(told) == len(self.rows):
            return told
        if taken == 1:
            return [len(self.rows)]
        return [1] * taken if len(self.rows) == taken else None


@dataclass(frozen=True, slots=True)
class _Books:
    """What is known of a batch's requests."""

    answers: BatchAnswers
    jobs: BatchJobs

    def pages(self, places: Sequence[int]) -> tuple[AnswerPage, JobPage]:
        """For one call of `process` with the rows at these places."""
        return self.answers.page(places), self.jobs.page(self.answers, places)


class Runner:
    """Runs one step.

    Args:
        step: loaded.
        assign: what the coordinator said about it.
        session: of this process.
        keep_answer: told of each answer of a model, with the batch it belongs to.
        draining: whether models may send no new request.
        max_message: bytes of the largest message that the coordinator takes; None for any.
        max_part: bytes of an array of rows in a result, which may have several; 0: it has one.
        jobs: where batches tell of providers' batch jobs.
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
        jobs: JobOffice,
        max_part: Callable[[], int] = lambda: 0,
    ) -> None:
        self.meter = Meter()
        """What the step has had from models since it was loaded."""
        self._step = step
        self._assign = assign
        self._session = session
        self._keep_answer = keep_answer
        self._draining = draining
        self._max_message = max_message
        self._max_part = max_part
        self._jobs = jobs
        self._outputs = assign.outputs or tuple(step.get_outputs())
        self._stateful = assign.stateful or bool(getattr(step, "stateful", False))
        self._equal_inputs = bool(getattr(step, "equal_inputs", False))
        function = getattr(step, "_process_function", None)
        self._generating = Generating(
            lambda offset: step.process_applying_mappings(offset=offset),
            heeds=function is None or looks_at(function(), "offset"),
        )

    def run(self, batch: Batch, payload: Sequence[bytes]) -> Ended:
        """The answer to a batch; never raises."""
        began = time.perf_counter()
        # A request that was refused for good is not sent again while the batch is halved.
        tokens = current_meter.set(self.meter), failed_requests.set({})
        try:
            ended = self._run(batch, payload)
        finally:
            current_meter.reset(tokens[0])
            failed_requests.reset(tokens[1])
        more: dict[str, Any] = {"usage": usage} if (usage := self.meter.totals()) else {}
        if isinstance(ended.answer, Result):
            more["seconds"] = time.perf_counter() - began
        return replace(ended, answer=ended.answer.model_copy(update=more)) if more else ended

    def _run(self, batch: Batch, payload: Sequence[bytes]) -> Ended:
        try:
            if self._assign.step_kind == "generator":
                return self._generate(batch, payload)
            return self._process(batch, payload)
        except DrainedError:
            return Ended(Returned(session=self._session, lease=batch.lease))
        except BaseException as error:  # noqa: BLE001  # whatever the user's code raised has to become an answer
            if (missing := lacking(error)) is not None:
                return Ended(Returned(session=self._session, lease=batch.lease), lacks=describe(missing))
            return Ended(Failed(session=self._session, lease=batch.lease, error=describe(error)))

    # ---------------------------------------------------------------- generators

    def _generate(self, batch: Batch, payload: Sequence[bytes]) -> Ended:
        number = batch.lease.seq_no[0] if batch.lease.seq_no else 0
        is_first = partial(_is_row, split_payload(payload[0])[0]) if batch.first else None
        token = current_remarks.set(remarks := Remarks())
        try:
            rows, last = self._generating.take(number, batch.offset, is_first)
        finally:
            current_remarks.reset(token)
        _raise_what_is_missing(remarks)
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
        more = iter(payload[len(batch.inputs) :])
        book = BatchAnswers(
            recorded_answers(next(more, b"")) if batch.answers else (),
            keep=partial(self._keep_answer, batch.lease),
            draining=self._draining,
        )
        places = range(max((len(rows) for rows in inputs), default=0))
        known = kept_rows(next(more, b"")) if batch.kept else {}
        jobs = self._jobs.open(batch.lease, recorded_jobs(next(more, b"")) if batch.jobs else ())
        books = _Books(book, jobs)
        try:
            if not batch.kept:
                return self._computed(batch, self._compute(inputs, places, books))
            kept = {place: row for place, row in known.items() if place in places}
            missing = [place for place in places if place not in kept]
            return self._computed(batch, put_together(kept, self._compute_missing(inputs, missing, books)))
        finally:
            self._jobs.close(batch.lease)

    def _compute_missing(
        self, inputs: Sequence[Sequence[bytes]], missing: Sequence[int], books: _Books
    ) -> list[Computed]:
        """What is missing between rows that are known: by one call if it can be told apart afterwards."""
        if not missing:
            return []
        together = self._compute([[rows[place] for place in missing] for rows in inputs], missing, books)
        apart = gaps(missing)
        if together.counts is not None or len(apart) == 1:
            return [together]
        # The answers of models are in the book, so none of them is asked again.
        return [self._compute([[rows[place] for place in gap] for rows in inputs], gap, books) for gap in apart]

    def _compute(self, inputs: Sequence[Sequence[bytes]], places: Sequence[int], books: _Books) -> Computed:
        """What comes out for some rows of a batch, which stand at these places in it."""
        pieces = in_halves(
            lambda start, stop: self._call([rows[start:stop] for rows in inputs], books.pages(places[start:stop])),
            len(places),
            passes=self._is_no_rows_fault,
            divide=not self._stateful,
        )
        return self._put_together(inputs, places, pieces, books.answers)

    def _is_no_rows_fault(self, error: BaseException) -> bool:
        known = self._assign.step_kind == "global" or isinstance(error, StepFatalError | DrainedError)
        return known or lacking(error) is not None

    def _call(self, inputs: Sequence[Sequence[bytes]], pages: tuple[AnswerPage, JobPage]) -> Given:
        # Decoded for each call: the one before may have changed the rows it was given.
        rows = [decode_each(branch) for branch in inputs]
        remarks = Remarks()
        tokens = current_answers.set(pages[0]), current_remarks.set(remarks), current_jobs.set(pages[1])
        given_rows = rows_given.set(max(map(len, rows), default=0))
        try:
            given = [row for given in self._step.process_applying_mappings(*rows) for row in given]
        finally:
            current_answers.reset(tokens[0])
            current_remarks.reset(tokens[1])
            current_jobs.reset(tokens[2])
            rows_given.reset(given_rows)
        _raise_what_is_missing(remarks)
        return Given(given, remarks)

    def _put_together(
        self,
        inputs: Sequence[Sequence[bytes]],
        places: Sequence[int],
        pieces: Sequence[Piece[Given]],
        answers: BatchAnswers,
    ) -> Computed:
        encoded: list[bytes] = []
        failures: list[RowFailure] = []
        counts: list[int] | None = [] if self._assign.step_kind == "normal" else None
        explained: ErrorInfo | None = None
        for piece in pieces:
            if piece.error is not None:
                # Rows that fail together share one description; only the first tells the whole story.
                error = describe(piece.error) if explained is None or not self._stateful else explained
                explained = error.model_copy(update={"traceback": "", "pickled": None})
                encoded.append(self._fail(inputs, piece.start, error, failures, piece.error))
                counts = None if counts is None else [*counts, 1]
                continue
            given = cast("Given", piece.given)
            encoded += self._encoded(inputs, piece, given.rows, len(encoded), failures)
            each = given.counts(piece.stop - piece.start)
            counts = None if counts is None or each is None else [*counts, *each]
            self._note_failed_answers(inputs, piece.start, given.remarks, failures)
        named = [failure if failure.out else _at(failure, places[failure.row], answers) for failure in failures]
        return Computed(places, encoded, counts, named)

    def _note_failed_answers(
        self, inputs: Sequence[Sequence[bytes]], start: int, remarks: Remarks, failures: list[RowFailure]
    ) -> None:
        """Rows that came out as the step wanted, with an answer that was of no use, are dead letters as well."""
        known = {failure.row for failure in failures if not failure.out}
        for place, failed in remarks.failed.items():
            if start + place not in known and place + start < len(inputs[0]):
                whole, _ = self._input(inputs, start + place)
                answer = None if failed.answer is None else failed.answer[:MAX_ANSWER]
                error = describe(failed.error)
                failures.append(
                    RowFailure(
                        row=start + place,
                        error=error,
                        input=whole,
                        answer=answer,
                        attempts=attempts_of(failed.error),
                    )
                )

    # ---------------------------------------------------------------- rows

    def _encoded(
        self,
        inputs: Sequence[Sequence[bytes]],
        piece: Piece[Given],
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
            return self._fail(inputs, place, self._named(error), failures, error)

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
        failures.append(RowFailure(row=place, error=named, input=encode_row(bare), out=True))
        return encoded

    def _fail(
        self,
        inputs: Sequence[Sequence[bytes]],
        place: int,
        error: ErrorInfo,
        failures: list[RowFailure],
        raised: BaseException,
    ) -> bytes:
        whole, rows = self._input(inputs, place)
        failures.append(
            RowFailure(row=place, error=error, input=whole, answer=answer_of(raised), attempts=attempts_of(raised))
        )
        return encode_row(failed_row(together(rows), step=self._step.name, outputs=self._outputs, error=error))

    def _input(self, inputs: Sequence[Sequence[bytes]], place: int) -> tuple[bytes, list[Row]]:
        """A row as the dead letters keep it, and decoded: of a join one per branch."""
        branches = [rows[place] for rows in inputs if place < len(rows)]
        rows = [decode_row(row) for row in branches]
        return (branches[0] if len(branches) == 1 else encode_value(rows)), rows

    def _named(self, error: RowTypeError) -> ErrorInfo:
        return ErrorInfo(type="RowTypeError", message=f"the output of step '{self._step.name}': {error}")

    def _computed(self, batch: Batch, computed: Computed) -> Ended:
        counts = computed.counts or ()
        even = all(count == 1 for count in counts)
        return self._result(batch, computed.rows, computed.failures, counts=() if even else counts)

    def _result(
        self,
        batch: Batch,
        encoded: list[bytes],
        failures: Sequence[RowFailure],
        *,
        last: bool = False,
        counts: Sequence[int] = (),
    ) -> Ended:
        count = len(encoded)
        payload = frames_of(
            encoded,
            step=self._step.name,
            size=self._size_name,
            max_message=self._max_message(),
            max_part=self._max_part(),
        )
        result = Result(
            session=self._session,
            lease=batch.lease,
            rows=count,
            last=last,
            failures=within_budget(failures) if failures else (),
            counts=tuple(counts),
        )
        return Ended(result, payload)

    @property
    def _size_name(self) -> str:
        return "batch_size" if self._assign.step_kind == "generator" else "input_batch_size"


def _raise_what_is_missing(remarks: Remarks) -> None:
    """Answers that are of no use for want of a package here are of use elsewhere."""
    for failed in remarks.failed.values():
        if lacking(failed.error) is not None:
            raise failed.error


def _is_row(encoded: bytes, row: Row) -> bool:
    try:
        return encode_row(row) == encoded
    except RowTypeError:
        return False


def check_equal_inputs(step: str, names: Sequence[str], counts: Sequence[int]) -> None:
    """Raises JoinError unless all lists are equally long."""
    if len(set(counts)) > 1:
        listed = ", ".join(f"'{name}' gave {count}" for name, count in zip(names, counts, strict=True))
        raise JoinError(
            f"The step '{step}' joins rows one by one, but the lists it was given differ in length: {listed} row(s)."
            " Each of these steps has to give as many rows as it takes: a filter or an expander has its place"
            " before the branches part or behind the join."
        )


def _at(failure: RowFailure, place: int, answers: BatchAnswers) -> RowFailure:
    """The failure of a row, named by its place in the batch, with the answers that it came from."""
    return failure.model_copy(update={"row": place, "useless": answers.useless(place)})


def _can_travel(value: Any) -> bool:
    try:
        encode_value(value)
    except RowTypeError:
        return False
    return True
