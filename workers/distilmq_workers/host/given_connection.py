"""A connection file that whoever starts the worker hands over by the standard input: it is on no command line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from distilmq.errors import DistilmqUserError
from distilmq.transport.connection_file import write_private

_LONGEST = 65536
"""Bytes of the line."""


@contextmanager
def given_connection(descriptor: int) -> Generator[str]:
    """The path of a file with the first line of the input, readable by its owner only, until the block ends.

    Args:
        descriptor: of the input; nothing is read of it but this line.

    Raises:
        DistilmqUserError: there is none.
    """
    line = bytearray()
    while len(line) < _LONGEST and (byte := os.read(descriptor, 1)) and byte != b"\n":
        line += byte
    if not line:
        raise DistilmqUserError("--connect - takes the text of a connection file, as one line, on the standard input")
    # Its step processes read it as well: for as long as it lives.
    with tempfile.TemporaryDirectory(prefix="distilmq-worker-") as folder:
        path = Path(folder) / "worker.json"
        write_private(path, line.decode(errors="replace"))
        yield str(path)
