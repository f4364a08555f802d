"""Machines of a test, each a network namespace, and the slow and lossy network between them."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.network.switch import ADDRESS
from tests.skipping import cannot

ROOT = Path(__file__).parents[2]


class Machine:
    """A machine of the network.

    Args:
        name: how the switch calls it.
        address: where others reach it.
        namespace: the file by which one gets into it.
        switch: takes orders.
    """

    def __init__(self, name: str, address: str, namespace: str, switch: subprocess.Popen[str]) -> None:
        self.name = name
        self.address = address
        self._namespace = namespace
        self._switch = switch

    @property
    def within(self) -> list[str]:
        """What to put before a command that is to run on it."""
        return ["nsenter", f"--net={self._namespace}", "--"]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Inside the block, sockets that the test makes, and the threads that it starts, are on this machine."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(self._namespace, os.O_RDONLY)
        try:
            _go_to(inside)
            yield
        finally:
            _go_to(outside)
            os.close(inside)
            os.close(outside)

    def cut(self, seconds: float) -> None:
        """Its link is down now, and for so long."""
        self.cut_after(0, seconds)
        self.wait_for_cut()

    def cut_after(self, received: int, seconds: float) -> None:
        """Its link goes down, for so long, when so many bytes more have come to it."""
        orders = _file(self._switch.stdin)
        orders.write(f"cut {self.name} {seconds} {received}\n")
        orders.flush()

    def wait_for_cut(self) -> None:
        """Waits until its link has gone down."""
        assert _file(self._switch.stdout).readline().split() == [self.name]


@contextmanager
def network_of(names: Sequence[str], *, delay: float, loss: float, seed: int) -> Iterator[dict[str, Machine]]:
    """Machines until the block ends, by name.

    Args:
        names: of the machines.
        delay: seconds that a frame is on its way.
        loss: share of the frames that never arrive.
        seed: of what is lost.
    """
    command = [sys.executable, "-m", "tests.network.switch", *names]
    options = ["--delay", str(delay), "--loss", str(loss), "--seed", str(seed)]
    switch = subprocess.Popen(
        [*command, *options], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said = json.loads(_file(switch.stdout).readline())
        if "reason" in said:
            cannot("making a network of machines", said["reason"])
        yield {
            name: Machine(name, ADDRESS.format(number), f"/proc/{switch.pid}/fd/{said['namespaces'][name]}", switch)
            for number, name in enumerate(names, 1)
        }
        assert switch.poll() is None
    finally:
        switch.kill()
        switch.communicate()


def _go_to(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _file(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
