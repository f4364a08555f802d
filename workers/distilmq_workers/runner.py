"""Calling the user's code: `load`, `process` for each batch, `unload`, in the process's main thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event
from typing import Any, cast

from distilmq.errors import DrainedError, JoinError, StepFatalError
from distilmq.models.requests.answers import current_answers
from distilmq.protocol.messages import Answered, Assign, Batch, Failed, Message, Result, Returned, RowFailure
from distilmq.protocol.packing import unpack
from distilmq.protocol.rows import decode_row, encode_rows, join_rows, split_payload
from distilmq.steps.base import GeneratorStep, Step, _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name
from distilmq_workers.book import BatchAnswers, CallAnswers
from distilmq_workers.events import Finished, Said
from distilmq_workers.failures import describe
from distilmq_workers.halving import Halving, Row
from distilmq_workers.loader import rebuild
from distilmq_workers.outbox import Outbox

GeneratorBatches = Iterator[tuple[list[Row], bool]]


class Runner:
    """Holds the loaded step of this process."""

    def __init__(self, session: str, outbox: Outbox, draining: Event) -> None:
        self._session = session
        self._outbox = outbox
        self._step: _Step | None = None
        self._generated: GeneratorBatches | None = None
        self._draining = draining

    def load(self, assign: Assign, definition: bytes) -> None:
        """Rebuilds and loads the step; raises what the user's code raises."""
        self._step = rebuild(assign, definition)
        self._step.load()

    def unload(self) -> None:
        """Unloads the step, if one is loaded."""
        if self._step is not None:
            self._step.unload()

    def work(self, batch: Batch, payload: Sequence[bytes]) -> Finished:
        """What comes of a batch; never raises."""
        try:
            return self._answer(batch, payload)
        except DrainedError:
            return Finished(batch.lease, Returned(session=self._session, lease=batch.lease))
        except BaseException as error:  # noqa: BLE001  # the user's code may raise anything: it becomes the answer
            return Finished(batch.lease, Failed(session=self._session, lease=batch.lease, error=describe(error)))

    def _answer(self, batch: Batch, payload: Sequence[bytes]) -> Finished:
        if isinstance(self._step, GeneratorStep):
            return self._generate(self._step, batch)
        if isinstance(self._step, Step):
            return self._process(self._step, batch, payload)
        raise StepFatalError(f"a batch of '{batch.lease.step}' came before the step was loaded")

    # ------------------------------------------------------------ generators

    def _generate(self, step: GeneratorStep, batch: Batch) -> Finished:
        """The next batch that the generator yields; one that ends without saying so ends with an empty one."""
        if self._generated is None:
            self._generated = step.process_applying_mappings(offset=batch.offset)
        rows, last = next(self._generated, (list[Row](), True))
        return self._result(batch, encode_rows(rows), len(rows), last=last)

    # ------------------------------------------------------------ normal and global steps

    def _process(self, step: Step, batch: Batch, payload: Sequence[bytes]) -> Finished:
        inputs = [split_payload(frame) for frame in payload[: len(batch.inputs)]]
        if step.equal_inputs:
            _check_lengths(step.name, batch.inputs, [len(rows) for rows in inputs])
        answers = self._answers(batch, payload)

        def call(rows: Sequence[list[Row]], places: Sequence[int]) -> list[Row]:
            token = current_answers.set(CallAnswers(answers, places))
            try:
                return [row for given in step.process_applying_mappings(*rows) for row in given]
            finally:
                current_answers.reset(token)

        if step.is_global:
            given = call([_decoded(rows) for rows in inputs], range(max((len(rows) for rows in inputs), default=0)))
            return self._result(batch, encode_rows(given), len(given))
        outputs = list(step.get_outputs())
        halving = Halving(call, inputs, step=step.name, outputs=outputs, stateful=step.stateful)
        outcome = halving.run()
        return self._result(batch, join_rows(outcome.rows), len(outcome.rows), failures=tuple(outcome.failures))

    def _answers(self, batch: Batch, payload: Sequence[bytes]) -> BatchAnswers:
        known = cast("list[Any]", unpack(payload[-1])) if batch.answers else []

        def keep(row: int, key: bytes, occurrence: int, answer: bytes) -> None:
            told = Answered(session=self._session, lease=batch.lease, row=row, key=key, occurrence=occurrence)
            self._outbox.put(Said(told, [answer]))

        return BatchAnswers([tuple(entry) for entry in known], keep, self._draining)

    def _result(
        self, batch: Batch, payload: bytes, rows: int, *, last: bool = False, failures: tuple[RowFailure, ...] = ()
    ) -> Finished:
        message: Message = Result(session=self._session, lease=batch.lease, rows=rows, last=last, failures=failures)
        return Finished(batch.lease, message, [payload])


def _decoded(rows: Sequence[bytes]) -> list[Row]:
    return [decode_row(row) for row in rows]


def _check_lengths(join: str, branches: Sequence[str], counts: Sequence[int]) -> None:
    if len(set(counts)) > 1:
        told = ", ".join(f"'{branch}' gave {count}" for branch, count in zip(branches, counts, strict=True))
        raise JoinError(
            f"Step '{join}' joins its branches row by row, but they differ in length: {told} rows for the same"
            " rows of the step where they part. A branch that drops or adds rows cannot be joined so: filter or expand"
            " before the branches part, or behind the join."
        )
