"""The coordinator's end of rows that go by way of shared files."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from distilmq.errors import DistilmqUserError
from distilmq.protocol.messages import BatchPart, Message, ResultPart
from distilmq.protocol.plan import Plan, Storage
from distilmq_broker.logbook import Logbook

if TYPE_CHECKING:
    from distilmq.transport.shared_files import SharedFiles


class Passing:
    """Which steps' rows go by way of files, and their way there and back. A plan without storage has none.

    What cannot be written goes along with its message after all; what cannot be read is as if it had not come.
    """

    def __init__(self, plan: Plan, run: str, log: Logbook) -> None:
        self._storage = plan.settings.storage
        self.run = run
        """Its id: the name of its folder there."""
        self._log = log
        self._files: SharedFiles | None = None
        self._global = {step.name for step in plan.steps if step.kind == "global"}

    def begin(self) -> str | None:
        """Makes the run's folder; says why that cannot be done."""
        if self._storage is None:
            return None
        from distilmq.transport.shared_files import SharedFiles  # here, not above: most runs need no file system

        try:
            files = SharedFiles(self._storage, self.run)
            files.begin()
        except DistilmqUserError as error:
            return str(error)
        self._files = files
        return None

    def storage(self, step: str) -> Storage | None:
        """By way of which the rows of a step go; None for one whose rows go with their messages."""
        if self._storage is None or not (self._storage.everything or step in self._global):
            return None
        return self._storage

    def put_away(self, part: BatchPart, data: bytes) -> tuple[BatchPart, Sequence[bytes]]:
        """A part of a batch with its rows in a file, if its step's rows go that way."""
        from distilmq.transport.shared_files import SharedFilesError

        if self._files is None or self.storage(part.lease.step) is None:
            return part, [data]
        try:
            file = self._files.write(f"batch-{uuid.uuid4().hex}", data)
        except SharedFilesError as error:
            self._log.error("rows_not_put_away", reason=str(error))
            return part, [data]
        return part.model_copy(update={"file": file}), ()

    def fetched(self, message: Message, payload: Sequence[bytes]) -> Sequence[bytes] | None:
        """The payload of a message, wherever it is; None where it cannot be read: its sender offers it again."""
        if not isinstance(message, ResultPart) or message.file is None:
            return payload
        from distilmq.transport.shared_files import SharedFilesError

        try:
            return None if self._files is None else [self._files.take(message.file)]
        except SharedFilesError as error:
            self._log.error("rows_not_fetched", reason=str(error))
            return None

    def end(self) -> None:
        """Removes what is left."""
        if self._files is not None:
            try:
                self._files.end()
            except Exception as error:  # noqa: BLE001  # any file system, and the run is over
                self._log.error("shared_files_not_removed", reason=str(error))
