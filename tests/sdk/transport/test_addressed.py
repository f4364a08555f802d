"""The frame in front that names a run."""

from __future__ import annotations

from distilmq.testing import MemoryTransport
from distilmq.transport.addressed import Addressed, split_address, with_address


def test_what_is_sent_names_the_run_and_what_comes_is_without_it() -> None:
    transport = MemoryTransport()
    listener, connection = transport.listen(), Addressed(transport.connect(), "run-1")

    connection.send([b"version", b"header"])
    received = listener.receive()

    assert received is not None
    peer, frames = received
    assert split_address(frames) == ("run-1", [b"version", b"header"])
    listener.send(peer, with_address("run-1", [b"answer"]))
    assert connection.receive() == [b"answer"]


def test_what_another_run_says_is_passed_over() -> None:
    transport = MemoryTransport()
    listener, connection = transport.listen(), Addressed(transport.connect(), "run-1")
    connection.send([b"hello"])
    received = listener.receive()
    assert received is not None

    listener.send(received[0], with_address("run-2", [b"not for us"]))
    listener.send(received[0], with_address("", [b"nor this"]))
    listener.send(received[0], with_address("run-1", [b"this is"]))

    assert connection.receive() == [b"this is"]
    assert connection.receive() is None


def test_an_address_that_is_no_text_is_nobodys() -> None:
    assert split_address([b"\xff\xfe", b"header"]) == ("\\xff\\xfe", [b"header"])
    assert split_address([]) == ("", [])
