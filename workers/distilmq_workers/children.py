"""The step processes of one supervisor: started, listened to, and reaped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, cast

_TAIL = 4_096


@dataclass(slots=True)
class Child:
    """One step process."""

    session: str
    process: subprocess.Popen[bytes]
    started: float
    tail: bytearray = field(default_factory=bytearray)
    """The last of what it wrote."""

    @property
    def output(self) -> IO[bytes]:
        """Its standard output and error."""
        return cast("IO[bytes]", self.process.stdout)


class Children:
    """All step processes of a supervisor, by session."""

    def __init__(self, *, endpoint: str, worker: str) -> None:
        self._endpoint = endpoint
        self._worker = worker
        self._living: dict[str, Child] = {}

    def __len__(self) -> int:
        return len(self._living)

    @property
    def sessions(self) -> tuple[str, ...]:
        """The sessions of those that live."""
        return tuple(self._living)

    def files(self) -> list[int]:
        """Descriptors that are readable when a child wrote something, or ended."""
        return [child.output.fileno() for child in self._living.values()]

    def start(self, now: float) -> Child:
        """Starts one; it says Hello by itself."""
        session = uuid.uuid4().hex[:16]
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "distilmq_workers.process"),
                *("--endpoint", self._endpoint, "--worker", self._worker),
                *("--session", session, "--parent", str(os.getpid())),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        child = Child(session, process, now)
        os.set_blocking(child.output.fileno(), False)
        self._living[session] = child
        return child

    def listen(self) -> None:
        """Passes on what children wrote, and keeps its end for the case that they die."""
        for child in self._living.values():
            while written := child.output.read(65_536):
                child.tail = (child.tail + written)[-_TAIL:]
                sys.stderr.buffer.write(written)
        sys.stderr.buffer.flush()

    def reap(self) -> Iterator[tuple[Child, int]]:
        """Those that ended since the last call, with their exit codes."""
        for session, child in list(self._living.items()):
            code = child.process.poll()
            if code is not None:
                self.listen()
                del self._living[session]
                child.output.close()
                yield child, code

    def kill(self, session: str) -> None:
        """Ends one, whatever it does."""
        child = self._living.get(session)
        if child is not None:
            child.process.kill()

    def kill_all(self) -> None:
        """Ends all, and waits for their ends."""
        for child in self._living.values():
            child.process.kill()
        for child in self._living.values():
            child.process.wait()
            child.output.close()
        self._living.clear()

    def terminate(self) -> None:
        """Asks all to end."""
        for child in self._living.values():
            child.process.send_signal(signal.SIGTERM)
