"""What a story leaves behind: its processes, whoever started them, and their temporary files."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psutil

from tests.broker.front.brokers import alive

_MARK = "DISTILMQ_CHAOS_STORY"
"""A variable that all processes of a story inherit."""
GRACE = 10.0
"""Seconds in which what was told to end does."""


class Traces:
    """The mark on all processes of a story, and the folder that they take for temporary files."""

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex
        # Short, since sockets lie in it.
        self._temporary = Path(tempfile.mkdtemp(prefix="dq-", dir="/tmp"))

    @property
    def environment(self) -> dict[str, str]:
        """Of all processes of the story."""
        return {_MARK: self._mark, "TMPDIR": str(self._temporary)}

    def left(self) -> list[str]:
        """What is still there when everything has been ended."""
        deadline = time.monotonic() + GRACE
        while (living := self._living()) and time.monotonic() < deadline:
            threading.Event().wait(0.1)
        processes = [f"process {process.pid} is left: {_command(process)}" for process in living]
        files = [f"{path.relative_to(self._temporary)} is left" for path in sorted(self._temporary.rglob("*"))]
        return processes + files

    def remove(self) -> None:
        """Ends and removes whatever there is."""
        for process in self._living():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _living(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get(_MARK) == self._mark and alive(process):
                    found.append(process)
        return found


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())[:200]
    return "it is gone now"
