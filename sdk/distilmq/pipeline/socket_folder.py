"""The folder of a coordinator's socket: private, short enough for a Unix socket, gone when nobody uses it.

A script that is killed cannot remove its folder. So whoever uses one holds a lock on the file `stderr` in it: the
script, and the coordinator, which inherits it. The next run removes the folders that nobody has locked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

_LONGEST_SOCKET_PATH = 90
"""Unix sockets take about 100 characters."""
_YOUNG = 60.0
"""Seconds for which a folder without a lock is left alone: it may just be being made."""


class SocketFolder:
    """A new folder, in use until it is removed or nobody is left who has its `errors` open.

    Args:
        parent: where it is made; the usual place for temporary files when it is not given.
    """

    def __init__(self, parent: str | None = None) -> None:
        parent = parent or _parent()
        sweep(parent)
        self.path = Path(tempfile.mkdtemp(prefix=_prefix(), dir=parent))
        self.endpoint = f"ipc://{self.path}/c"
        self.errors = (self.path / "stderr").open("wb")
        """The standard error of the coordinator, locked."""
        fcntl.flock(self.errors, fcntl.LOCK_EX)

    def last_words(self, most: int) -> str:
        """The end of what was written to the standard error, at most so many bytes of it."""
        try:
            return (self.path / "stderr").read_bytes()[-most:].decode(errors="replace").strip()
        except FileNotFoundError:
            return ""

    def remove(self) -> None:
        """Removes it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.errors.close()


def sweep(parent: str, *, young: float = _YOUNG) -> None:
    """Removes our folders that were left behind by scripts that were killed."""
    for folder in Path(parent).glob(f"{_prefix()}*"):
        if _left_behind(folder, young):
            shutil.rmtree(folder, ignore_errors=True)


def _left_behind(folder: Path, young: float) -> bool:
    try:
        if time.time() - folder.stat().st_mtime < young:
            return False
        with (folder / "stderr").open("rb") as errors:
            fcntl.flock(errors, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody has it, or has just removed it
        return False
    return True


def _prefix() -> str:
    return f"distilmq-{os.getuid()}-"


def _parent() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) < _LONGEST_SOCKET_PATH - len("/distilmq-4294967295-xxxxxxxx/c") else "/tmp"
