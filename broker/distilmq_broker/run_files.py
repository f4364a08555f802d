"""The files of a run: artifacts, written by steps or sent by them, and the data that its plan was submitted with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from distilmq.protocol.messages import Artifact, FileInfo
from distilmq_broker.run_folder import RunFolder

FILE_PART = 4 * 1024 * 1024
"""Bytes of a file in one message."""
PARTIAL = ".partial"
"""Ends the name of an artifact that has not come as a whole."""


class RunFiles:
    """Files below one folder; nothing that a peer says leads out of it.

    Args:
        folder: of the run.
        steps: that may have artifacts.
        digests: of the data files of its plan.
    """

    def __init__(self, folder: RunFolder, steps: frozenset[str], digests: frozenset[str] = frozenset()) -> None:
        self._data = folder.data
        self._digests = digests
        self._root = folder.path.resolve()
        self._artifacts = folder.artifacts
        self._steps = steps

    def listed(self) -> tuple[FileInfo, ...]:
        """All artifacts that are complete, by path."""
        return tuple(
            FileInfo(path=path.relative_to(self._root).as_posix(), size=path.stat().st_size) for path in self._files()
        )

    def part(self, name: str, offset: int) -> bytes:
        """Bytes of an artifact from an offset on; none at its end, or where there is no such artifact."""
        path = self._root / name
        if path not in set(self._files()) or not 0 <= offset < path.stat().st_size:
            return b""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(FILE_PART)

    def data_part(self, digest: str, offset: int) -> bytes:
        """Bytes of a data file of the plan from an offset on; none at its end, or where there is no such file."""
        if digest not in self._digests or offset < 0:
            return b""
        try:
            with (self._data / digest).open("rb") as file:
                file.seek(offset)
                return file.read(FILE_PART)
        except FileNotFoundError:
            return b""

    def take(self, artifact: Artifact, data: bytes) -> str | None:
        """Keeps a part of a file that a step has sent; the last one makes it visible.

        Returns:
            Why it was not kept.
        """
        place = PurePosixPath(artifact.path)
        if artifact.step not in self._steps:
            return f"there is no step {artifact.step!r:.100}"
        if place.is_absolute() or not place.parts or ".." in place.parts or "\0" in artifact.path:
            return f"{artifact.path!r:.200} is no path below the step's folder"
        try:
            return self._keep(artifact, self._artifacts / artifact.step / place, data)
        except OSError as error:
            return f"'{artifact.path:.200}' cannot be written: {error.strerror}"

    def _keep(self, artifact: Artifact, path: Path, data: bytes) -> str | None:
        sender = hashlib.blake2b(artifact.session.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        partial = path.with_name(f"{path.name}-{sender}{PARTIAL}")
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as file:
            if artifact.offset == 0:
                file.truncate(0)
            elif file.tell() != artifact.offset:
                return f"a part of '{artifact.path}' is missing before byte {artifact.offset}"
            file.write(data)
        if artifact.last:
            partial.replace(path)
        return None

    def _files(self) -> Iterator[Path]:
        for path in sorted(self._artifacts.resolve().rglob("*")):
            if path.is_file() and not path.is_symlink() and path.suffix != PARTIAL:
                yield path
