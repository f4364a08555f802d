"""One coordinator per run: a locked file that says who has it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distilmq.errors import JournalError

_GRACE = 2.0
"""Seconds in which a coordinator notices that its client is gone."""
_PAUSE = 0.05


class RunLockedError(JournalError):
    """Another coordinator has this run; the message says which, and how to attach."""

    def __init__(self, message: str, *, leaving: bool = False) -> None:
        super().__init__(message)
        self.leaving = leaving
        """Its client is gone: it finishes what is in hand and leaves by itself."""


class RunLock:
    """The lock of a run's folder, held until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        self._descriptor = _open(self.path)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read(self._descriptor)
            os.close(self._descriptor)
            raise RunLockedError(_refusal(folder, holder), leaving=bool(holder.get("leaving"))) from error

    def describe(self, *, epoch: int, endpoint: str) -> None:
        """Writes down who holds the lock."""
        self._write({"host": socket.gethostname(), "pid": os.getpid(), "epoch": epoch, "endpoint": endpoint})

    def leave(self) -> None:
        """Writes down that the holder will be gone soon, so that the next one waits for it."""
        self._write({**_read(self._descriptor), "leaving": True})

    def _write(self, holder: dict[str, Any]) -> None:
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)
        except OSError as error:
            raise JournalError(f"cannot write {self.path}: {error.strerror}") from error

    def release(self) -> None:
        """Lets another coordinator have the run."""
        os.close(self._descriptor)


def await_lock(folder: Path, give_up: Callable[[float], bool]) -> RunLock:
    """The lock of a run's folder, also when the coordinator of a client that is gone still has it: it is waited for.

    Args:
        folder: of the run.
        give_up: waits for so many seconds, and says whether nobody wants the run any more.

    Raises:
        RunLockedError: another coordinator has the run, and its client is there.
    """
    deadline = time.monotonic() + _GRACE
    while True:
        try:
            return RunLock(folder)
        except RunLockedError as error:
            if give_up(_PAUSE) or not (error.leaving or time.monotonic() < deadline):
                raise


def read_lock(folder: Path) -> dict[str, Any]:
    """What the last holder wrote; empty where there was none."""
    try:
        return _parsed((folder / "lock").read_bytes())
    except OSError:
        return {}


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"cannot write {path}: {error.strerror}") from error


def _read(descriptor: int) -> dict[str, Any]:
    return _parsed(os.pread(descriptor, 4096, 0))


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(data))
    except ValueError:
        return {}


def _refusal(folder: Path, holder: dict[str, Any]) -> str:
    if not holder:
        return f"another coordinator is starting on {folder}"
    return (
        f"the run in {folder} already has a coordinator: process {holder.get('pid')} on {holder.get('host')} "
        f"(epoch {holder.get('epoch')}). Attach to it at {holder.get('endpoint')}, or end that process first"
    )
