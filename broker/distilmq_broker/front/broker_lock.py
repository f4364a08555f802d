"""One broker per folder: a locked file that says who has it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path

from distilmq.errors import DistilmqUserError


class BrokerLock:
    """Held until `release` or the end of the process.

    Raises:
        DistilmqUserError: another broker has the folder; the message says which, and where it listens.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read(self._descriptor)
            os.close(self._descriptor)
            raise DistilmqUserError(
                f"{folder} already has a broker: process {holder.get('pid')} on {holder.get('host')}, at"
                f" {holder.get('endpoint')}. Use that one, or end it first, or choose another folder with --dir."
            ) from error

    def describe(self, endpoint: str) -> None:
        """Writes down who holds it."""
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "endpoint": endpoint}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)

    def release(self) -> None:
        """Lets another broker have the folder."""
        os.close(self._descriptor)


def _read(descriptor: int) -> dict[str, object]:
    try:
        return dict(json.loads(os.pread(descriptor, 4096, 0)))
    except ValueError:
        return {}
