"""The rows of a leaf on their way into a dataset, on disk: they are read twice and never all in memory."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

from distilmq.protocol.packing import pack, unpack
from distilmq.protocol.row_decoding import restore_with_none
from distilmq.protocol.rows import decode_rows

Rows: TypeAlias = list[dict[str, Any]]

CHUNK_BYTES = 4 * 1024 * 1024
_SIZE = struct.Struct("<Q")


class Spool:
    """Payloads of one leaf: decoded in chunks of a few megabytes as they come, and again for the second reading."""

    def __init__(self, directory: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # closed by close()
        self._chunks = 0
        self._first: Rows = []

    def fill(self, payloads: Iterable[bytes]) -> Iterator[Rows]:
        """Takes all payloads and gives their rows, a chunk at a time."""
        for chunk in _chunked(_cut(payloads)):
            for payload in chunk:
                self._file.write(_SIZE.pack(len(payload)))
                self._file.write(payload)
            rows = _decoded(chunk)
            if self._chunks == 0:
                self._first = rows
            self._chunks += 1
            yield rows

    def chunks(self) -> Iterator[Rows]:
        """The same chunks again."""
        if self._chunks == 1:
            yield self._first
            return
        self._first = []
        self._file.seek(0)
        for chunk in _chunked(self._payloads()):
            yield _decoded(chunk)

    def close(self) -> None:
        """Gives the disk space back."""
        self._file.close()

    def _payloads(self) -> Iterator[bytes]:
        while size := self._file.read(_SIZE.size):
            yield self._file.read(_SIZE.unpack(size)[0])


def _chunked(payloads: Iterable[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for payload in payloads:
        chunk.append(payload)
        size += len(payload)
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _cut(payloads: Iterable[bytes]) -> Iterator[bytes]:
    """Payloads of a chunk's size at most where their rows allow: a global step's is all of its rows."""
    for payload in payloads:
        if len(payload) <= CHUNK_BYTES:
            yield payload
            continue
        for rows in _chunked(unpack(payload)):
            yield pack(rows)


def _decoded(payloads: Sequence[bytes]) -> Rows:
    rows: Rows = []
    for payload in payloads:
        rows.extend(decode_rows(payload, hook=restore_with_none))
    return rows
