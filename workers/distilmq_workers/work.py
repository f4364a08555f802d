"""The user's side of a step process: loads the step and runs batches in its lanes; what comes of it are events."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilmq.models.requests.demand import Expected, demand, expected
from distilmq.protocol.messages import Assign, Batch, JobKept, Lease, Lend, Note
from distilmq.protocol.plan import Storage
from distilmq_workers import events
from distilmq_workers.artifacts import ArtifactCarrier
from distilmq_workers.data_folder import DataFolder
from distilmq_workers.jobs import JobOffice
from distilmq_workers.lanes import Lanes
from distilmq_workers.outbox import Outbox
from distilmq_workers.stalls import stack_of

if TYPE_CHECKING:
    from distilmq.transport.shared_files import SharedFiles
    from distilmq_workers.loans import LoanOffice
    from distilmq_workers.runner import Runner

MOST_LANES = 1024
"""Batches at once for a step that takes several, whatever it says."""


class Work:
    """Everything but `load`, `run` and `stop_asking` happens in the threads of the lanes."""

    def __init__(self, session: str, outbox: Outbox, lanes: Lanes) -> None:
        self.max_message: int | None = None
        """Bytes of the largest message that the coordinator takes."""
        self.max_part = 0
        """Bytes of a part of a result; 0 for a coordinator that takes no parts."""
        self.data = DataFolder()
        """Of the step, where it comes in files."""
        self.files: SharedFiles | None = None
        """By way of which rows go, once the step is loaded."""
        self._session = session
        self._outbox = outbox
        self._lanes = lanes
        self._jobs = JobOffice(session, outbox.put)
        self._draining = threading.Event()
        self._threads: dict[Lease, int] = {}
        self._step: Any = None
        self._runner: Runner | None = None
        self._loans: LoanOffice | None = None
        self._at_once = False
        self._carrier: ArtifactCarrier | None = None
        """Of artifacts, where the coordinator cannot read what is written here."""

    # ---------------------------------------------------------------- asked for by the socket's thread

    def load(self, assign: Assign, definition: bytes) -> None:
        """Has the main thread load a step."""
        self._lanes.call(lambda: self._load(assign, definition))

    def run(self, batch: Batch, payload: Sequence[bytes]) -> None:
        """Has a lane run a batch."""
        rows = demand.expect(max(batch.rows, default=0))
        self._lanes.run_batch(lambda: self._run(batch, payload, rows))

    def stop_asking(self) -> None:
        """Models send no new request from here on."""
        self._draining.set()

    def take_loan(self, lend: Lend) -> None:
        """A share of an account's limits came in."""
        if self._loans is not None:
            self._loans.lend(lend)

    def take_job_kept(self, kept: JobKept) -> None:
        """It is recorded which requests of a batch are in a job."""
        self._jobs.kept(kept)

    def take_recorded(self, lease: Lease) -> None:
        """What came of a batch is recorded."""
        self._jobs.recorded(lease)

    def send_files_again(self) -> None:
        """Artifacts that were sent may be lost."""
        if self._carrier is not None:
            self._carrier.forget()
            self._send_files()

    def stack_of(self, lease: Lease) -> str:
        """Where the user's code is with a batch."""
        return stack_of(self._threads.get(lease))

    # ---------------------------------------------------------------- the user's code

    def warm_up(self) -> None:
        """Imports what every step needs, while there is nothing else to do."""
        for module in ("distilmq.steps.base", "distilmq_workers.runner", "cloudpickle"):
            importlib.import_module(module)

    def unload(self) -> None:
        """Calls the step's `unload()`, if one is loaded."""
        if self._step is not None:
            self._step.unload()
        self.data.remove()
        if self._carrier is not None:
            self._carrier.remove()

    def _load(self, assign: Assign, definition: bytes) -> None:
        from distilmq_workers.failures import describe
        from distilmq_workers.loader import load_step
        from distilmq_workers.notes import send_logs_as_notes

        send_logs_as_notes(self._session, assign.step, self._note)
        try:
            if assign.storage is not None:
                self.files = _checked_files(assign.storage, assign.run)
            data = self.data.check(assign.data)
            self._step = load_step(assign, definition, assign.artifacts or self._carried(assign.step), data)
            self._runner = self._make_runner(assign)
        except BaseException as error:  # noqa: BLE001  # whatever the user's code raises ends the run with that error
            self._outbox.put(events.LoadRaised(assign.step, describe(error)))
            return
        # What was imported lives as long as the process: no search for cycles looks through it again.
        gc.freeze()
        lanes = min(MOST_LANES, getattr(self._step, "most_batches_at_once", 1))
        self._lanes.widen(lanes)
        self._at_once = lanes > 1
        if self._at_once:
            demand.listen(self._demand_changed)
        if "distilmq.models.requests.lending" in sys.modules:  # else the step has no model that borrows
            self._open_loan_office()
        self._outbox.put(events.Loaded(assign.step, lanes))

    def _open_loan_office(self) -> None:
        from distilmq.models.requests.lending import desk
        from distilmq_workers.loans import LoanOffice

        self._loans = LoanOffice(self._session, desk, lambda borrow: self._outbox.put(events.LoanWanted(borrow)))

    def _make_runner(self, assign: Assign) -> Runner:
        from distilmq_workers.runner import Runner

        return Runner(
            self._step,
            assign,
            session=self._session,
            keep_answer=self._keep_answer,
            draining=self._draining.is_set,
            max_message=lambda: self.max_message,
            max_part=lambda: self.max_part,
            jobs=self._jobs,
        )

    def _run(self, batch: Batch, payload: Sequence[bytes], rows: Expected) -> None:
        if self._runner is None:
            raise RuntimeError(f"batch {batch.lease} before the step was loaded")
        self._threads[batch.lease] = threading.get_ident()
        expected.set(rows)
        ended = self._runner.run(batch, payload)
        rows.met()
        self._threads.pop(batch.lease, None)
        # A step may have closed it, or put something of its own in its place: that is no reason to lose its result.
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        if self._at_once:
            self._demand_changed(*demand.now)
        self._send_files()
        self._outbox.put(events.BatchEnded(ended.answer, ended.payload, ended.lacks))

    def _carried(self, step: str) -> Path:
        """A folder for artifacts, whose files are sent."""
        self._carrier = ArtifactCarrier(self._session, step)
        return self._carrier.folder

    def _send_files(self) -> None:
        if self._carrier is not None:
            for artifact, data in self._carrier.parts():
                self._outbox.put(events.FileSaved(artifact, data))

    def _keep_answer(self, lease: Lease, row: int, key: bytes, occurrence: int, answer: bytes) -> None:
        usage = self._runner.meter.totals() if self._runner is not None else ()
        self._outbox.put(events.AnswerCame(lease, row, key, occurrence, answer, usage))

    def _demand_changed(self, limit: int, unsent: int) -> None:
        self._outbox.put(events.DemandChanged(limit, unsent))

    def _note(self, note: Note) -> None:
        self._outbox.put(events.Noted(note))


def _checked_files(storage: Storage, run: str) -> SharedFiles:
    from distilmq.transport.shared_files import SharedFiles

    files = SharedFiles(storage, run)
    files.check()
    return files
