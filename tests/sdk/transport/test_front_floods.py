"""What a crowd at the door of a broker changes for a worker that has a key: nothing."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

import pytest

from distilmq.transport.keys import new_pair
from tests.sdk.transport.flooding import HALF_OPEN, JOINS_WITHIN, flood
from tests.sdk.transport.fronts import Guarded, guarded
from tests.stopwatch import Stopwatch


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as this process may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert before[1] >= HALF_OPEN + 500, "raise the hard limit of open files, as by `ulimit -Hn 65536`"
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_ten_thousand_half_open_connections_keep_nobody_out(many_files: None) -> None:
    with guarded() as world, flood(world.front.endpoint, HALF_OPEN) as flooding:
        assert world.serve_until(lambda: world.front.connections >= HALF_OPEN, 60)
        assert flooding.poll() is None

        assert joins_within(world, JOINS_WITHIN)


def test_a_worker_joins_while_ten_thousand_connections_are_being_opened(many_files: None) -> None:
    with guarded() as world, flood(world.front.endpoint, HALF_OPEN):
        assert world.serve_until(lambda: world.front.connections >= 100, 60)

        assert joins_within(world, JOINS_WITHIN)


def test_half_open_connections_are_cut_and_counted() -> None:
    with guarded(handshake=0.5) as world, flood(world.front.endpoint, 200):
        assert world.refused("handshake not finished", times=200)

        assert world.serve_until(lambda: world.front.connections == 0), "the last one is counted before it is closed"
        assert len(world.told) == 5


def test_a_storm_of_unknown_keys_keeps_nobody_out() -> None:
    with guarded() as world, contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(world.connected(new_pair())).send([b"let me in"])
        assert world.refused("unknown key", times=50)

        assert joins_within(world, JOINS_WITHIN)


def joins_within(world: Guarded, seconds: float) -> bool:
    """Whether a worker with a key is heard and answered in time."""
    watch = Stopwatch()
    with world.connected(world.key("worker")) as connection:
        connection.send([b"hello"])
        peer, role, frames = world.next()
        world.front.send(peer, [b"welcome"])
        assert (role, frames) == ("worker", [b"hello"])
        assert world.serve_until(lambda: connection.receive() == [b"welcome"])
    return watch.seconds < seconds
