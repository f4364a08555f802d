"""What a test may leave behind: no thread, no open file or socket, no child process.

A `Snapshot` of the process is taken before a test and compared with those taken after it, until nothing
new is left or the deadline has passed: a thread that is just ending is no leak. Threads and processes that
libraries start once and keep for the life of the process are known by name.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

import psutil

GRACE = 5.0
"""Seconds for what is ending to end."""

_KEPT_THREADS = ("tqdm_monitor", "TMonitor", "pytest_timeout", "IPythonHistorySavingThread", "hf-xet")
"""Beginnings of names of threads that a library starts once per process."""

_KEPT_PROCESSES = ("multiprocessing.resource_tracker", "multiprocessing/resource_tracker")

_KEPT_FILES = ("anon_inode:", "/dev/", "/proc/", "/sys/", "/memfd:", "/usr/", "/etc/")
"""Targets of descriptors that belong to the interpreter, the terminal or an event loop, not to a test."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What this process holds at one moment, each as a text that can be compared and shown."""

    threads: frozenset[str]
    files: frozenset[str]
    processes: frozenset[str]

    def leaked_since(self, before: Snapshot) -> list[str]:
        """What is here and was not before, one line each."""
        return sorted(
            [f"thread {item}" for item in self.threads - before.threads]
            + [f"file {item}" for item in self.files - before.files]
            + [f"process {item}" for item in self.processes if _pid(item) not in {*map(_pid, before.processes)}]
        )


def take_snapshot() -> Snapshot:
    """What this process holds now, without what libraries keep."""
    return Snapshot(threads=_threads(), files=_files(), processes=_processes())


def leaks_since(before: Snapshot, *, grace: float = GRACE) -> list[str]:
    """What was left behind since `before` and is still there when the grace is over."""
    deadline = time.monotonic() + grace
    pause = threading.Event()
    while left := take_snapshot().leaked_since(before):
        if time.monotonic() > deadline:
            return left
        # Clients close their sockets when they are collected, and some sit in reference cycles.
        gc.collect()
        pause.wait(0.02)
    return []


def _threads() -> frozenset[str]:
    python = {
        f"{thread.name} ({thread.ident})"
        for thread in threading.enumerate()
        if thread.is_alive() and not thread.name.startswith(_KEPT_THREADS)
    }
    return frozenset(python | _transport_threads())


def _transport_threads() -> set[str]:
    """The threads of ZeroMQ contexts, which Python does not list: a context that was not closed keeps two."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            name = (task / "comm").read_text().strip()
            if name.startswith("ZMQbg"):
                found.add(f"{name} ({task.name})")
    return found


def _files() -> frozenset[str]:
    """Open sockets, pipes and files, each with its number and what it is open on."""
    tracker = getattr(resource_tracker._resource_tracker, "_fd", None)
    found: set[str] = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")
            if int(number) != tracker and not target.startswith(_KEPT_FILES):
                found.add(f"{number} on {target}")
    return frozenset(found)


def _pid(item: str) -> str:
    """By which a process is known: its command is not there yet when it has just been started."""
    return item.partition(" ")[0]


def _processes() -> frozenset[str]:
    found: set[str] = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline()) or process.name()
            if not any(kept in command for kept in _KEPT_PROCESSES):
                found.add(f"{process.pid} {command[:200]}")
    return frozenset(found)
