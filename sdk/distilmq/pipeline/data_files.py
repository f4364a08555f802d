"""The data of a pipeline that is too large for its plan: in files, which go to a broker part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from distilmq.protocol.plan import DataFile

PART = 8 * 1024 * 1024
"""Bytes of a file in one message."""

Send = Callable[[str, int, bytes], int]
"""Takes a file's digest, an offset and the bytes from there on; says how many bytes of the file are there then."""


def described(path: Path) -> DataFile:
    """What a plan says of a file: by its digest it is known everywhere."""
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while data := file.read(PART):
            digest.update(data)
    return DataFile(name=path.name, size=path.stat().st_size, digest=digest.hexdigest())


def upload(path: Path, data: DataFile, send: Send) -> None:
    """Sends a file, on from where it is there already: each part once the one before is on the other disk."""
    there = send(data.digest, 0, b"")
    with path.open("rb") as file:
        while there < data.size:
            file.seek(there)
            there = send(data.digest, there, file.read(PART))
