"""The step processes of one supervisor: started, listened to, ended and reaped.

Started as programs of their own, never forked, each in a process group of its own: what a step starts itself
goes with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, cast

_TAIL = 4096
"""Bytes of what a process wrote last that are told when it ends."""
_STACKS_WITHIN = 0.2
"""Seconds after which no further piece of a stack is expected."""


@dataclass(slots=True)
class Child:
    """One step process."""

    session: str
    process: subprocess.Popen[bytes]
    started: float
    stalls: int
    """Readable when it holds the interpreter for so long that nothing else in it runs."""
    tail: bytearray = field(default_factory=bytearray)
    silent: bool = False
    """It has closed its standard output and error, which from then on is readable for ever."""
    stacks: bytearray = field(default_factory=bytearray)
    """What came out of `stalls` so far: it is written in many small pieces."""
    stacks_at: float = 0.0
    """When the last piece came."""

    @property
    def output(self) -> IO[bytes]:
        """Its standard output and error."""
        return cast("IO[bytes]", self.process.stdout)


@dataclass(frozen=True, slots=True)
class Ended:
    """A step process that is no more."""

    session: str
    code: int
    output: str
    lived: float


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

    def go_by(self, worker: str) -> None:
        """Those that are started from here on go by this name of their host."""
        self._worker = worker

    def files(self) -> list[int]:
        """Descriptors that are readable when a child wrote something, stalls or ended."""
        listening = [child for child in self._living.values() if not child.silent]
        return [file for child in listening for file in (child.output.fileno(), child.stalls)]

    def fill(self, wanted: int, *, now: float) -> None:
        """Starts as many as are missing; each says Hello by itself."""
        while len(self._living) < wanted:
            self.start(os.urandom(8).hex(), now=now)

    def start(
        self, session: str, *, now: float, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """Starts one.

        Args:
            session: the name of its life.
            now: monotonic seconds.
            options: further ones of its command line.
            environment: what is added to ours.
        """
        stalls, told = os.pipe()
        try:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "distilmq_workers.process"),
                    *("--endpoint", self._endpoint, "--worker", self._worker),
                    *("--session", session, "--parent", str(os.getpid()), "--stalls", str(told)),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                pass_fds=[told],
                process_group=0,
            )
        except OSError:
            os.close(stalls)
            raise
        finally:
            os.close(told)
        child = Child(session, process, now, stalls)
        os.set_blocking(child.output.fileno(), False)
        os.set_blocking(stalls, False)
        self._living[session] = child

    def listen(self) -> None:
        """Passes on what children wrote, and keeps its end for the case that they die."""
        heard = False
        for child in self._living.values():
            heard |= _listen_to(child)
        if heard:
            _flush()

    def stalled(self, now: float) -> Iterator[tuple[str, str]]:
        """Sessions that let nothing else in their process run, each with the stacks of its threads."""
        for child in self._living.values():
            with contextlib.suppress(BlockingIOError):
                while part := os.read(child.stalls, 65536):
                    child.stacks += part
                    child.stacks_at = now
            if child.stacks and now >= child.stacks_at + _STACKS_WITHIN:
                yield child.session, child.stacks.decode(errors="replace")
                child.stacks.clear()

    def stacks_due(self) -> float | None:
        """When to call `stalled` again at the latest."""
        return min((child.stacks_at + _STACKS_WITHIN for child in self._living.values() if child.stacks), default=None)

    def reap(self, now: float) -> Iterator[Ended]:
        """Those that ended since the last call."""
        for session, child in list(self._living.items()):
            code = child.process.poll()
            if code is None:
                continue
            _listen_to(child)
            _flush()
            del self._living[session]
            _forget(child)
            yield Ended(session, code, child.tail.decode(errors="replace"), now - child.started)

    def kill(self, session: str) -> None:
        """Ends one and what it started, whatever it does."""
        child = self._living.get(session)
        if child is not None:
            _signal_group(child, signal.SIGKILL)

    def kill_all(self) -> None:
        """Ends all, and waits for their ends."""
        for child in self._living.values():
            _signal_group(child, signal.SIGKILL)
        for child in self._living.values():
            child.process.wait()
            _listen_to(child)
            _forget(child)
        _flush()
        self._living.clear()

    def terminate(self, session: str | None = None) -> None:
        """Asks one, or all, to finish what is in hand, and end."""
        for child in self._living.values():
            if session in {None, child.session}:
                child.process.send_signal(signal.SIGTERM)


def _listen_to(child: Child) -> bool:
    heard = False
    while written := child.output.read(65536):
        heard = True
        child.tail = (child.tail + written)[-_TAIL:]
        # Nobody may be left to read it, and that must not end the supervisor.
        with contextlib.suppress(OSError):
            sys.stderr.buffer.write(written)
    child.silent = written == b""
    return heard


def _flush() -> None:
    with contextlib.suppress(OSError):
        sys.stderr.buffer.flush()


def _forget(child: Child) -> None:
    # What it started itself and left behind: a model server would keep its GPU.
    _signal_group(child, signal.SIGKILL)
    child.output.close()
    os.close(child.stalls)


def _signal_group(child: Child, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, number)
