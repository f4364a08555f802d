"""The ZeroMQ transport on real sockets: who hears whom, what is refused, and what is left when it closes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.transport.ports import Connection, Listener, MessageTooLargeError, PeerId, PeerUnreachableError
from distilmq.transport.zeromq import connect, listen
from tests.stopwatch import Stopwatch
from tests.waiting import PATIENCE


@pytest.fixture
def endpoint() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="distilmq-t-") as folder:
        yield f"ipc://{folder}/inner/c"


def wait_for(end: Connection | Listener, patience: float = PATIENCE) -> object:
    """The next message, or a failed test."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        message = end.receive()
        if message is not None:
            return message
        end.poll(deadline - time.monotonic())
    raise AssertionError("no message came")


def test_frames_go_both_ways(endpoint: str) -> None:
    with closing(listen(endpoint)) as listener, closing(connect(listener.endpoint)) as connection:
        connection.send([b"hello", b""])
        peer, frames = wait_for(listener)  # type: ignore[misc]
        listener.send(peer, [b"welcome", b"x" * 1000])

        assert frames == [b"hello", b""]
        assert wait_for(connection) == [b"welcome", b"x" * 1000]
        assert listener.receive() is None


def test_a_connection_may_be_there_before_the_listener(endpoint: str) -> None:
    with closing(connect(endpoint)) as connection:
        connection.send([b"early"])
        with closing(listen(endpoint)) as listener:
            assert wait_for(listener)[1] == [b"early"]  # type: ignore[index]


def test_a_listener_that_comes_back_is_heard_and_hears_under_another_id(endpoint: str) -> None:
    with closing(connect(endpoint)) as connection:
        with closing(listen(endpoint)) as first:
            connection.send([b"one"])
            before, _ = wait_for(first)  # type: ignore[misc]
        with closing(listen(endpoint)) as second:
            connection.send([b"two"])
            after, frames = wait_for(second)  # type: ignore[misc]
            with pytest.raises(PeerUnreachableError):
                second.send(PeerId(b"\0nobody"), [b"lost"])
            second.send(after, [b"heard"])

            assert frames == [b"two"]
            assert wait_for(connection) == [b"heard"]
    assert before


def test_a_peer_that_takes_nothing_blocks_nobody(endpoint: str) -> None:
    with closing(listen(endpoint, linger=0)) as listener, closing(connect(endpoint, linger=0)) as connection:
        connection.send([b"hello"])
        peer, _ = wait_for(listener)  # type: ignore[misc]

        watch = Stopwatch()
        with pytest.raises(PeerUnreachableError):
            send_often(listener, peer, 100_000)

        assert watch.seconds < 5


def test_what_is_too_large_is_refused_where_it_is_sent(endpoint: str) -> None:
    with closing(listen(endpoint)) as listener, closing(connect(endpoint)) as connection:
        connection.max_message = 1000
        with pytest.raises(MessageTooLargeError) as caught:
            connection.send([b"header", b"x" * 1000])
        connection.send([b"small"])

        assert (caught.value.size, caught.value.limit) == (1006, 1000)
        assert wait_for(listener)[1] == [b"small"]  # type: ignore[index]


def test_a_large_frame_arrives_whole(endpoint: str) -> None:
    frame = os.urandom(1024 * 1024) * 8
    with closing(listen(endpoint)) as listener, closing(connect(endpoint)) as connection:
        connection.send([b"header", frame])

        assert wait_for(listener)[1] == [b"header", frame]  # type: ignore[index]


def test_closing_sends_what_is_queued_and_never_hangs(endpoint: str) -> None:
    with closing(listen(endpoint)) as listener:
        connection = connect(endpoint)
        connection.send([b"last words"])
        connection.close()
        assert wait_for(listener)[1] == [b"last words"]  # type: ignore[index]

    watch = Stopwatch()
    orphan = connect(endpoint, linger=0.3)
    orphan.send([b"to nobody"])
    orphan.close()
    orphan.close()
    assert watch.seconds < 3


def test_a_readable_file_wakes_the_wait(endpoint: str) -> None:
    reading, writing = os.pipe()
    try:
        with closing(listen(endpoint)) as listener:
            assert listener.poll(0, [reading]) == set()
            os.write(writing, b"!")
            assert listener.poll(PATIENCE, [reading]) == {reading}
            assert listener.poll(0) == set()
    finally:
        os.close(reading)
        os.close(writing)


def test_a_local_socket_lies_in_a_folder_of_its_own(endpoint: str) -> None:
    with closing(listen(endpoint)):
        folder = Path(endpoint.removeprefix("ipc://")).parent
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_path_that_the_kernel_would_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 100 bytes"):
        listen("ipc:///tmp/" + "x" * 120)


def test_a_folder_that_cannot_be_made_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match="Not a directory"):
        listen(f"ipc://{tmp_path}/file/inner/c")


def test_tcp_without_keys_does_not_exist() -> None:
    with pytest.raises(DistilmqUserError, match=r"Nothing listens on tcp://127\.0\.0\.1:5555 without keys"):
        listen("tcp://127.0.0.1:5555")
    with pytest.raises(DistilmqUserError, match=r"keys/client\.json"):
        connect("tcp://127.0.0.1:5555")


def test_a_killed_peer_becomes_unreachable(endpoint: str) -> None:
    code = (
        "import sys, time; from distilmq.transport.zeromq import connect;"
        "c = connect(sys.argv[1]); c.send([b'hello']); time.sleep(60)"
    )
    with closing(listen(endpoint, linger=0)) as listener:
        child = subprocess.Popen([sys.executable, "-c", code, endpoint])
        peer, _ = wait_for(listener)  # type: ignore[misc]
        child.kill()
        child.wait()

        assert until(lambda: unreachable(listener, peer))


def send_often(listener: Listener, peer: PeerId, times: int) -> None:
    for _ in range(times):
        listener.send(peer, [b"x"])


def unreachable(listener: Listener, peer: PeerId) -> bool:
    try:
        listener.send(peer, [b"still there?"])
    except PeerUnreachableError:
        return True
    listener.poll(0.01)
    return False


def until(condition: Callable[[], bool], patience: float = PATIENCE) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if condition():
            return True
    return False
