"""The files that a step saves with `save_artifact`, on their way to a coordinator that cannot read this disk."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from distilmq.protocol.messages import Artifact

FILE_PART = 4 * 1024 * 1024
"""Bytes of a file in one message."""


class ArtifactCarrier:
    """A folder of this process's own, whose files are sent when they are new or have changed."""

    def __init__(self, session: str, step: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="distilmq-artifacts-"))
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
