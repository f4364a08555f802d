"""The coordinator's end of rows that go by way of shared files; nothing waits for a slow file system."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from distilmq.errors import DistilmqUserError
from distilmq.protocol.messages import BatchPart, Note, ResultPart, SharedFile
from distilmq.protocol.plan import Plan, Storage
from distilmq_broker.logbook import Logbook

if TYPE_CHECKING:
    from distilmq.transport.errands import Errands
    from distilmq.transport.shared_files import SharedFiles, SharedFilesError

_END_PATIENCE = 30.0
"""Seconds that removing what is left may take."""


class Passing:
    """Which steps' rows go by way of files, and their way there and back. A plan without storage has none.

    What cannot be written goes along with its message after all; what cannot be read is as if it had not come: its
    sender offers it again.

    Args:
        plan: of the run.
        run: its id.
        log: of the run.
        tell: shows a note to whoever follows the run.
    """

    def __init__(self, plan: Plan, run: str, log: Logbook, tell: Callable[[Note], None]) -> None:
        self._storage = plan.settings.storage
        self.run = run
        """Its id: the name of its folder there."""
        self._log = log
        self._tell = tell
        self._files: SharedFiles | None = None
        self._errands: Errands | None = None
        self._early: list[Callable[[], None]] = []
        """What was asked for before the run's folder was there."""
        self._asked: set[Hashable] = set()
        self._troubled = False
        self._global = {step.name for step in plan.steps if step.kind == "global"}

    def begin(self, begun: Callable[[str | None], None]) -> None:
        """Has the run's folder made; then says that it is there, or why it cannot be."""
        if self._storage is None:
            begun(None)
            return
        from distilmq.transport.errands import Errands  # here, not above: most runs need none of it

        self._errands = Errands()
        self._errands.ask("", partial(partial, _begun, self._storage, self.run), lambda made: self._begun(made, begun))

    @property
    def ready(self) -> bool:
        """Whether workers may look for the run's folder."""
        return self._storage is None or self._files is not None

    def filenos(self) -> list[int]:
        """What is readable when there is something to settle."""
        return [] if self._errands is None else [self._errands.fileno()]

    def settle(self) -> None:
        """Goes on with what was written and read meanwhile."""
        if self._errands is not None:
            self._errands.settle()

    def storage(self, step: str) -> Storage | None:
        """By way of which the rows of a step go; None for one whose rows go with their messages."""
        if self._storage is None or not (self._storage.everything or step in self._global):
            return None
        return self._storage

    def put_away(
        self,
        session: str,
        name: Hashable,
        read: Callable[[], tuple[BatchPart, bytes] | None],
        send: Callable[[BatchPart, Sequence[bytes]], None],
    ) -> None:
        """Writes the rows of a part into a file, and has the part sent.

        Args:
            session: that it is for.
            name: what is asked for; asked for again before it is sent, it is sent once.
            read: gives the part and its rows, when it is its turn; None where there is no such part.
            send: sends it.
        """
        if (session, name) in self._asked:
            return
        self._asked.add((session, name))

        def begin() -> Callable[[], _Written] | None:
            found = read()
            if found is None:
                self._asked.discard((session, name))
            return None if found is None or self._files is None else partial(_written, self._files, *found)

        def end(written: _Written) -> None:
            self._asked.discard((session, name))
            self._heed("rows_not_put_away", written.error)
            send(written.part, written.payload)

        self._ask(f"to {session}", begin, end)

    def fetch(self, message: ResultPart, file: SharedFile, take: Callable[[bytes], None]) -> None:
        """Reads the rows of a part of a result; those of one process are taken in the order in which they came."""

        def end(read: bytes | SharedFilesError) -> None:
            if not isinstance(read, bytes):
                self._heed("rows_not_fetched", read)
                return
            self._heed("rows_fetched", None)
            take(read)
            self._ask(
                file.name, lambda: None if self._files is None else partial(_removed, self._files, file), _nothing
            )

        self._ask(message.session, lambda: None if self._files is None else partial(_read, self._files, file), end)

    def tidy(self) -> None:
        """The run is over: what is left is removed meanwhile."""
        if (files := self._files) is not None:
            self._ask("", lambda: partial(self._remove, files), _nothing)

    def end(self, *, over: bool) -> None:
        """Removes what is still left, unless the run is not over: then the next coordinator does, when it begins.

        What a worker was about to write when the run ended may have come behind `tidy`.
        """
        files, self._files = self._files, None
        if self._errands is not None:
            self._errands.close()
            self._errands = None
        if files is None or not over:
            return
        thread = threading.Thread(target=self._remove, args=(files,), name="distilmq-removing", daemon=True)
        thread.start()
        thread.join(_END_PATIENCE)
        if thread.is_alive():
            self._log.error("shared_files_not_removed", reason=f"it takes more than {_END_PATIENCE:.0f} s")

    def _remove(self, files: SharedFiles) -> None:
        from distilmq.transport.shared_files import SharedFilesError

        try:
            files.end()
        except SharedFilesError as error:
            self._log.error("shared_files_not_removed", reason=str(error))

    def _begun(self, made: SharedFiles | DistilmqUserError, begun: Callable[[str | None], None]) -> None:
        if isinstance(made, DistilmqUserError):
            begun(str(made))
            return
        self._files = made
        early, self._early = self._early, []
        for ask in early:
            ask()
        begun(None)

    def _ask(self, name: str, begin: Callable[[], Callable[[], object] | None], end: Callable[..., None]) -> None:
        if self._errands is None:
            return
        ask = partial(self._errands.ask, name, begin, end)
        if self._files is None:
            self._early.append(ask)
        else:
            ask()

    def _heed(self, event: str, error: SharedFilesError | None) -> None:
        """Says each time that it failed, and shows when that begins and ends."""
        if error is not None:
            self._log.error(event, reason=str(error))
        if (error is not None) == self._troubled:
            return
        self._troubled = error is not None
        if error is None:
            self._log.info("storage_works_again")
            note = Note(session="", level="info", event="storage_works_again", text="Rows go by way of files again.")
        else:
            text = f"{error}. It is tried again; meanwhile rows that cannot go that way are sent in messages."
            note = Note(session="", level="warning", event=event, text=text)
        self._tell(note)


@dataclass(frozen=True, slots=True)
class _Written:
    """A part as it is sent: with the name of its file, or with its rows where that could not be written."""

    part: BatchPart
    payload: Sequence[bytes]
    error: SharedFilesError | None = None


def _begun(storage: Storage, run: str) -> SharedFiles | DistilmqUserError:
    from distilmq.transport.shared_files import SharedFiles

    try:
        files = SharedFiles(storage, run)
        files.begin()
    except DistilmqUserError as error:
        return error
    return files


def _written(files: SharedFiles, part: BatchPart, data: bytes) -> _Written:
    from distilmq.transport.shared_files import SharedFilesError

    try:
        file = files.write(f"batch-{uuid.uuid4().hex}", data)
    except SharedFilesError as error:
        return _Written(part, [data], error)
    return _Written(part.model_copy(update={"file": file}), ())


def _read(files: SharedFiles, file: SharedFile) -> bytes | SharedFilesError:
    from distilmq.transport.shared_files import SharedFilesError

    try:
        return files.read(file)
    except SharedFilesError as error:
        return error


def _removed(files: SharedFiles, file: SharedFile) -> None:
    from distilmq.transport.shared_files import SharedFilesError

    # What cannot be removed now goes with the folder.
    with contextlib.suppress(SharedFilesError):
        files.remove(file)


def _nothing(given: object) -> None:
    """Nobody waits for it."""
