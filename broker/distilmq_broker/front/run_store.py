"""The records of submitted runs: `run.json` in the folder of each, written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from distilmq.errors import JournalError
from distilmq.protocol.messages import Progress
from distilmq.protocol.plan import Plan
from distilmq_broker.front.core.records import RunRecord
from distilmq_broker.logbook import Logbook
from distilmq_broker.run_folder import RunFolder

_NAME = "run.json"
_PROGRESS = "progress.json"


class RunStore:
    """Runs as they lie below a folder. What cannot be written is kept in memory, and tried again by `flush`."""

    def __init__(self, folder: Path, log: Logbook) -> None:
        self._folder = folder
        self._log = log
        self._unsaved: dict[str, RunRecord] = {}

    def load(self) -> list[RunRecord]:
        """All records; what cannot be read is logged and left alone."""
        records: list[RunRecord] = []
        for path in sorted(self._folder.glob(f"*/{_NAME}")):
            try:
                records.append(RunRecord.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError) as error:
                self._log.error("run_unreadable", path=str(path), reason=str(error)[:500])
        return records

    def add(self, record: RunRecord, plan: Plan, put_files: Callable[[RunFolder], None] = lambda folder: None) -> None:
        """Keeps a new run: plan and files first, so that what has a record has both.

        Args:
            record: of the run.
            plan: of the run.
            put_files: puts what else it begins with into its folder.

        Raises:
            JournalError: it cannot be kept.
        """
        folder = RunFolder(self._folder / record.run)
        folder.make()
        folder.store_plan(plan)
        try:
            put_files(folder)
            self._write(record)
        except OSError as error:
            raise JournalError(f"cannot write {folder.path / _NAME}: {error.strerror}") from error

    def save(self, record: RunRecord) -> None:
        """Makes a record durable, now or as soon as that can be done."""
        self._unsaved[record.run] = record
        self.flush()

    def flush(self) -> None:
        """Writes what could not be written before."""
        for run, record in list(self._unsaved.items()):
            try:
                self._write(record)
            except OSError as error:
                self._log.error("run_not_saved", run=run, reason=str(error))
                return
            del self._unsaved[run]

    def save_progress(self, progress: Progress) -> None:
        """Keeps how far a run came; it is only shown."""
        try:
            (self._folder / progress.run / _PROGRESS).write_text(progress.model_dump_json())
        except OSError as error:
            self._log.error("progress_not_saved", run=progress.run, reason=str(error))

    def progress(self, run: str) -> Progress | None:
        """How far a run came; None where that is not kept."""
        try:
            return Progress.model_validate_json((self._folder / run / _PROGRESS).read_bytes())
        except (OSError, ValidationError):
            return None

    def remove(self, run: str) -> None:
        """Removes all that is kept of a run; the record first, so that no half of it counts as one."""
        folder = self._folder / run
        self._unsaved.pop(run, None)
        (folder / _NAME).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def _write(self, record: RunRecord) -> None:
        path = self._folder / record.run / _NAME
        draft = path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(record.model_dump_json(indent=1).encode())
            file.flush()
            os.fdatasync(file.fileno())
        draft.rename(path)
