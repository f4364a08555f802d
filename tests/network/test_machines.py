"""The network between the machines of a test does what it says: frames are late, some are lost, links go down."""

from __future__ import annotations

import socket
import time

import pytest

from tests.network.machines import Machine, network_of
from tests.waiting import PATIENCE, until

DELAY = 0.05
SENT = 200


def bound(machine: Machine) -> socket.socket:
    """A socket on a machine."""
    with machine.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((machine.address, 0))
    made.settimeout(PATIENCE)
    return made


def sent(near: socket.socket, far: socket.socket) -> bool:
    """Whether it could be sent."""
    try:
        return bool(near.sendto(b"there", far.getsockname()))
    except OSError:
        return False


def received(end: socket.socket) -> int:
    """How much has come, until nothing comes for a second."""
    end.recv(100)
    end.settimeout(1.0)
    for count in range(1, SENT):
        try:
            end.recv(100)
        except TimeoutError:
            return count
    return SENT


def test_frames_take_their_time() -> None:
    with (
        network_of(["near", "far"], delay=DELAY, loss=0.0, seed=1) as machines,
        bound(machines["near"]) as near,
        bound(machines["far"]) as far,
    ):
        begun = time.monotonic()
        near.sendto(b"there", far.getsockname())
        _, back_to = far.recvfrom(100)
        far.sendto(b"and back", back_to)
        near.recv(100)

    # Who asks for an address, and is answered, takes as long again.
    assert time.monotonic() - begun >= 4 * DELAY


def test_some_frames_are_lost() -> None:
    with (
        network_of(["near", "far"], delay=0.0, loss=0.2, seed=1) as machines,
        bound(machines["near"]) as near,
        bound(machines["far"]) as far,
    ):
        # When it is the question for the address that is lost, all waits a second for the next one.
        for _ in range(SENT):
            near.sendto(b"there", far.getsockname())

        assert 0 < received(far) < SENT


def test_a_link_is_down_and_comes_up_again() -> None:
    with (
        network_of(["near", "far"], delay=0.0, loss=0.0, seed=1) as machines,
        bound(machines["near"]) as near,
        bound(machines["far"]) as far,
    ):
        machines["near"].cut(60.0)
        with pytest.raises(OSError, match="unreachable"):
            near.sendto(b"there", far.getsockname())
        begun = time.monotonic()
        machines["near"].cut(0.5)
        until(lambda: sent(near, far), "the link is up again")

        assert far.recv(100) == b"there"
        assert time.monotonic() - begun >= 0.5


def test_a_link_goes_down_when_so_much_has_come() -> None:
    with (
        network_of(["near", "far"], delay=0.0, loss=0.0, seed=1) as machines,
        bound(machines["near"]) as near,
        bound(machines["far"]) as far,
    ):
        machines["far"].cut_after(10_000, 60.0)
        for _ in range(SENT):
            near.sendto(bytes(100), far.getsockname())
        machines["far"].wait_for_cut()

        assert 10 < received(far) <= 100
