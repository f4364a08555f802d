"""A script on a terminal of its own, as a user has it: what it shows is read, and Ctrl+C is typed."""

from __future__ import annotations

import os
import pty
import re
import threading
from types import TracebackType

from tests.integration.runs import Script, family, kill_tree

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """The script in a new session whose controlling terminal is a pty; its master end is read all the time."""

    def __init__(self, script: Script, **env: str) -> None:
        self._master, slave = pty.openpty()
        self.process = script.start(env=env, terminal=slave)
        os.close(slave)
        self._shown = bytearray()
        self._leave = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def shown(self) -> str:
        """Everything shown so far, without colours and cursor movements."""
        return _ESCAPES.sub("", self._shown.decode(errors="replace"))

    def press_ctrl_c(self) -> None:
        """Types it: the terminal sends SIGINT to the whole foreground process group."""
        os.write(self._master, b"\x03")

    def hang_up(self) -> None:
        """Closes it, as a user closes a window: the kernel tells the script by SIGHUP."""
        self._leave.set()
        # Whoever reads holds it open: what is typed is shown, and wakes him.
        os.write(self._master, b"\n")
        self._reader.join(10)
        os.close(self._master)

    def _read(self) -> None:
        while not self._leave.is_set():
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # the last process closed the other end
                return
            self._shown += data

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            left = family(self.process.pid)
            kill_tree(self.process.pid)
            self.process.wait()
            for process in left:
                process.wait(60)
        self._reader.join(60)
        if not self._leave.is_set():
            os.close(self._master)
