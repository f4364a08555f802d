"""Append-only files that hold the payloads: the ledger says where each lies and what its checksum is.

Adding only notes where the bytes will stand; `flush` writes what was added at exactly those places, segment by
segment, so a rotation never overtakes bytes of the segment before, and a flush that failed half-way (a full
disk, a short write) is simply done again. A file is made with `O_EXCL` and never written by another process.
"""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from distilmq.errors import JournalError
from distilmq_broker.adapters.large_payloads import LargePayload
from distilmq_broker.crash_points import CrashPoints

ROTATE_AT = 256 * 1024 * 1024
KEPT_IN_MEMORY = 16 * 1024 * 1024
"""Bytes of the payloads written last that are read without the disk."""
_SUFFIX = ".seg"
_OPEN_FILES = 64
_IOV_MAX = 512
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Place:
    """Where a payload lies."""

    segment: int
    offset: int
    length: int
    crc: int


class Segments:
    """The payload files of one run: its own, and those of runs it has adopted batches from."""

    def __init__(
        self,
        folder: Path,
        *,
        known: Mapping[int, Path] | None = None,
        rotate_at: int = ROTATE_AT,
        durable: bool = False,
        keep: int = KEPT_IN_MEMORY,
        crash: CrashPoints | None = None,
    ) -> None:
        self.folder = folder
        self.sizes: dict[int, int] = {}
        """Own segments written by this process, with the bytes that are on file."""
        self._known = dict(known or {})
        """Segments that the ledger names, own ones of earlier epochs included."""
        self._rotate_at = rotate_at
        self.durable = durable
        self._crash = crash or CrashPoints()
        self._newest = max([*self._known, *own_segments(folder)], default=0)
        """No segment has a higher number."""
        self._current = 0
        """The segment that is added to, 0 before the first."""
        self._end = 0
        """Where the next payload of the current segment will stand."""
        self.grown: dict[int, int] = {}
        """Sizes of segments that were written to since the ledger last knew; it clears this."""
        self._large: list[LargePayload] = []
        """Payloads with a segment of their own that are recorded and not flushed."""
        self._buffered: dict[int, list[bytes]] = {}
        """Per segment, in order, what is not on file yet; the bytes stand behind `sizes[segment]`."""
        self._in_memory: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        """What is not on file yet, and what was written last: most is read once, soon after."""
        self._bytes_in_memory = 0
        self._keep_bytes = keep
        self._files: OrderedDict[int, int] = OrderedDict()

    @property
    def buffered(self) -> bool:
        """Whether something was added that is not on file yet."""
        return bool(self._buffered or self._large)

    def path(self, segment: int) -> Path:
        """The file of a segment."""
        return self._known.get(segment) or self.folder / f"{segment:06d}{_SUFFIX}"

    def next_number(self) -> int:
        """A number that no segment has had."""
        self._newest += 1
        return self._newest

    def adopt(self, segment: int, path: Path) -> None:
        """Makes another run's segment readable under a number of ours."""
        self._known[segment] = path

    def add(self, data: bytes) -> Place:
        """Notes bytes to be written by the next `flush`; never touches the disk."""
        if not self._current or (self._end and self._end + len(data) > self._rotate_at):
            self._current = self.next_number()
            self._end = 0
        place = Place(self._current, self._end, len(data), zlib.crc32(data))
        self._buffered.setdefault(place.segment, []).append(data)
        self._in_memory[place.segment, place.offset] = data
        self._bytes_in_memory += len(data)
        self._end += len(data)
        return place

    def begin_large(self) -> LargePayload:
        """A payload that is written as it comes, into a segment of its own.

        Raises:
            JournalError: its file cannot be made.
        """
        number = self.next_number()
        return LargePayload(number, self.path(number), self._settled)

    def add_large(self, payload: LargePayload) -> Place:
        """Notes a payload that is on file for the next `flush`; its pieces have the checksums."""
        self._large.append(payload)
        with suppress(JournalError):
            # So that it can be read; `flush` tries again, and tells of what cannot be done.
            payload.settle()
        return Place(payload.segment, 0, payload.size, 0)

    def flush(self) -> None:
        """Writes what was added.

        Raises:
            JournalError: it could not be written; nothing is forgotten, and it may be tried again.
        """
        while self._large:
            self._large[0].close(durable=self.durable)
            if self.durable:
                sync_folder(self.folder)
            del self._large[0]
        for segment in list(self._buffered):
            self._write(segment, self._buffered[segment])
            del self._buffered[segment]
        while self._bytes_in_memory > self._keep_bytes:
            _, data = self._in_memory.popitem(last=False)
            self._bytes_in_memory -= len(data)

    def read(self, place: Place) -> bytes:
        """The bytes at a place, checked.

        Raises:
            JournalError: the file is gone, too short, holds zeros, or other bytes than were written.
        """
        waiting = self._in_memory.get((place.segment, place.offset))
        if waiting is not None and len(waiting) == place.length:
            return waiting
        try:
            data = _read_fully(self._file(place.segment), place.length, place.offset)
        except OSError as error:
            raise JournalError(f"cannot read {self.path(place.segment)}: {error.strerror}") from error
        if len(data) == place.length and zlib.crc32(data) == place.crc:
            return data
        raise JournalError(_damage(self.path(place.segment), place, data))

    def close(self) -> None:
        """Closes the files; what was not flushed is lost."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _settled(self, segment: int, size: int) -> None:
        self.sizes[segment] = size
        self.grown[segment] = size

    def _write(self, segment: int, chunks: list[bytes]) -> None:
        path = self.path(segment)
        start = self.sizes.get(segment, 0)
        try:
            descriptor = self._create(segment) if segment not in self.sizes else self._file(segment)
            end = _write_fully(descriptor, chunks, start)
            if self.durable:
                os.fdatasync(descriptor)
        except OSError as error:
            raise JournalError(f"cannot write {path}: {error.strerror}") from error
        self.sizes[segment] = end
        self.grown[segment] = end

    def _create(self, segment: int) -> int:
        if self.sizes:
            self._crash.reach("rotation")
        try:
            descriptor = os.open(self.path(segment), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise JournalError(
                f"{self.path(segment)} was made by somebody else: two coordinators on one run?"
            ) from None
        self._keep(segment, descriptor)
        self.sizes[segment] = 0
        if self.durable:
            sync_folder(self.folder)
        return descriptor

    def _file(self, segment: int) -> int:
        descriptor = self._files.get(segment)
        if descriptor is None:
            # An own segment that fell out of the cache may still be written to.
            flags = os.O_RDWR if segment in self.sizes else os.O_RDONLY
            descriptor = os.open(self.path(segment), flags | os.O_CLOEXEC)
            self._keep(segment, descriptor)
        else:
            self._files.move_to_end(segment)
        return descriptor

    def _keep(self, segment: int, descriptor: int) -> None:
        self._files[segment] = descriptor
        if len(self._files) > _OPEN_FILES:
            _, oldest = self._files.popitem(last=False)
            os.close(oldest)


def own_segments(folder: Path) -> dict[int, Path]:
    """The segment files in a folder, by number."""
    try:
        names = sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)
    except OSError as error:
        raise JournalError(f"cannot list {folder}: {error.strerror}") from error
    return {int(path.stem): path for path in names if path.stem.isdigit()}


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_fully(descriptor: int, chunks: list[bytes], offset: int) -> int:
    for start in range(0, len(chunks), _IOV_MAX):
        views = [memoryview(chunk) for chunk in chunks[start : start + _IOV_MAX] if chunk]
        while views:
            written = os.pwritev(descriptor, views, offset)
            offset += written
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if written:
                views[0] = views[0][written:]
    return offset


def _read_fully(descriptor: int, length: int, offset: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _damage(path: Path, place: Place, data: bytes) -> str:
    where = f"{path}, bytes {place.offset} to {place.offset + place.length}"
    if len(data) < place.length:
        return f"{where}: the file ends after {len(data)} of {place.length} bytes (a torn tail)"
    zeros = _first_block_of_zeros(data)
    if zeros is not None:
        return f"{where}: a block of zeros at byte {place.offset + zeros}"
    return f"{where}: the checksum does not match"


def _first_block_of_zeros(data: bytes) -> int | None:
    found = data.find(bytes(min(_BLOCK, len(data))))
    return found if found >= 0 and data else None
