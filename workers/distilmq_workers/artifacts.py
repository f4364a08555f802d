"""The files that a step saves with `save_artifact`, on their way to a coordinator that cannot read this disk.

A process that is killed cannot remove its folder. So it holds a lock on the folder while it lives, and whoever started
it removes the folders that nobody has locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from distilmq.protocol.messages import Artifact

FILE_PART = 4 * 1024 * 1024
"""Bytes of a file in one message."""
_PREFIX = f"distilmq-artifacts-{os.getuid()}-"


class ArtifactCarrier:
    """A folder of this process's own, whose files are sent when they are new or have changed.

    Args:
        session: of this process.
        step: that saves them.
        parent: where the folder is made; the usual place for temporary files when it is not given.
    """

    def __init__(self, session: str, step: str, parent: Path | None = None) -> None:
        self.folder, self._lock_on_folder = _own_folder(parent)
        self._session = session
        self._step = step
        self._sent: dict[Path, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def parts(self) -> Iterator[tuple[Artifact, bytes]]:
        """What has not been sent yet, in messages of a few megabytes."""
        with self._lock:
            for path in sorted(self.folder.rglob("*")):
                if not path.is_file():
                    continue
                state = path.stat()
                if self._sent.get(path) != (state.st_size, state.st_mtime_ns):
                    self._sent[path] = (state.st_size, state.st_mtime_ns)
                    yield from self._parts_of(path)

    def forget(self) -> None:
        """What was sent may be lost: all of it is sent again."""
        with self._lock:
            self._sent.clear()

    def remove(self) -> None:
        """Gives the disk space back."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock_on_folder)

    def _parts_of(self, path: Path) -> Iterator[tuple[Artifact, bytes]]:
        name = path.relative_to(self.folder).as_posix()
        offset = 0
        with path.open("rb") as file:
            data = file.read(FILE_PART)
            while True:
                following = file.read(FILE_PART)
                part = Artifact(session=self._session, step=self._step, path=name, offset=offset, last=not following)
                yield part, data
                if not following:
                    return
                offset += len(data)
                data = following


def sweep(parent: Path | None = None) -> None:
    """Removes the folders of processes that were killed."""
    for folder in _place(parent).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody has it, or has just removed it
            lock = _locked(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _own_folder(parent: Path | None) -> tuple[Path, int]:
    """A new folder, and the lock on it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_place(parent)))
        # Another process may sweep it away before it is locked.
        with contextlib.suppress(OSError):
            lock = _locked(folder)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _locked(folder: Path) -> int:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _place(parent: Path | None) -> Path:
    return Path(tempfile.gettempdir()) if parent is None else parent
