"""The transport within one process behaves as the ports say, and loses what a test tells it to lose."""

from __future__ import annotations

import os
import threading
from contextlib import closing

import pytest

from distilmq.testing import ManualClock, MemoryTransport
from distilmq.transport.ports import PeerUnreachableError


def test_messages_go_both_ways() -> None:
    transport = MemoryTransport()
    with closing(transport.listen()) as listener, closing(transport.connect()) as connection:
        connection.send([b"hello"])
        peer, frames = listener.receive() or (b"", [])
        listener.send(peer, [b"welcome"])  # type: ignore[arg-type]

        assert frames == [b"hello"]
        assert connection.receive() == [b"welcome"]
        assert connection.receive() is None


def test_a_listener_that_opens_late_gets_what_was_sent() -> None:
    transport = MemoryTransport()
    with closing(transport.connect()) as connection:
        connection.send([b"early"])
        with closing(transport.listen()) as listener:
            assert listener.receive() == (connection.peer, [b"early"])


def test_a_peer_that_comes_back_has_another_id() -> None:
    transport = MemoryTransport()
    with closing(transport.listen()) as listener, closing(transport.connect()) as connection:
        before = connection.peer
        transport.attach(connection)

        with pytest.raises(PeerUnreachableError):
            listener.send(before, [b"to the old id"])
        listener.send(connection.peer, [b"to the new one"])
        assert connection.receive() == [b"to the new one"]


def test_a_swallowed_message_is_lost_without_an_error() -> None:
    transport = MemoryTransport(swallow=lambda peer, frames: frames == [b"lost"])
    with closing(transport.listen()) as listener, closing(transport.connect()) as connection:
        connection.send([b"lost"])
        connection.send([b"kept"])

        assert listener.receive() == (connection.peer, [b"kept"])


def test_waiting_ends_with_a_message_or_a_file() -> None:
    transport = MemoryTransport()
    reading, writing = os.pipe()
    try:
        with closing(transport.listen()) as listener, closing(transport.connect()) as connection:
            sender = threading.Thread(target=connection.send, args=([b"from another thread"],))
            sender.start()
            while (received := listener.receive()) is None:
                listener.poll(10)
            sender.join()
            os.write(writing, b"!")

            assert received == (connection.peer, [b"from another thread"])
            assert listener.poll(10, [reading]) == {reading}
    finally:
        os.close(reading)
        os.close(writing)


def test_a_manual_clock_goes_only_when_it_is_turned() -> None:
    clock = ManualClock(monotonic=5.0, wall=100.0)

    assert clock.advance(2.5) == 7.5
    assert (clock.monotonic(), clock.wall()) == (7.5, 102.5)
