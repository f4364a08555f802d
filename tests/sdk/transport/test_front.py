"""The listener of a broker on real sockets: who is let in, in which role, and what becomes of everybody else."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import zmq

from distilmq.errors import DistilmqUserError
from distilmq.transport import front
from distilmq.transport.front import LOOK_AGAIN
from distilmq.transport.keys import Allowed, ConnectionKeys, new_pair
from distilmq.transport.ports import KeyDeniedError, PeerUnreachableError
from distilmq.transport.zeromq import ZeromqConnection, connect
from tests.sdk.transport.fronts import MAX_MESSAGE, Guarded, guarded
from tests.waiting import PATIENCE, until


@pytest.fixture
def world() -> Iterator[Guarded]:
    with guarded() as world:
        yield world


def test_frames_go_both_ways_and_each_message_has_the_role_of_its_key(world: Guarded) -> None:
    with world.connected(world.key("client", "laptop")) as client, world.connected(world.key("worker")) as worker:
        client.send([b"submit", b""])
        peer, role, frames = world.next()
        worker.send([b"result"])
        other, other_role, _ = world.next()
        world.front.send(peer, [b"accepted", b"x" * 1000])

        assert (role, frames, other_role) == ("client", [b"submit", b""], "worker")
        assert world.front.name_of(peer) == "laptop"
        assert peer != other
        assert world.serve_until(lambda: client.receive() == [b"accepted", b"x" * 1000])
        assert world.front.refusals.counts == {}


def test_a_peer_without_a_key_is_not_heard(world: Guarded) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as plain:
        plain.linger = 0
        plain.connect(world.front.endpoint)
        plain.send(b"hello")

        # Which of the two ends finds it out first is a matter of luck.
        assert world.refused("no key", "handshake not finished")


def test_a_key_that_was_never_added_is_not_heard(world: Guarded) -> None:
    stranger = new_pair()
    with world.connected(stranger) as connection:
        connection.send([b"hello"])

        assert world.refused("unknown key")
        assert world.told[0] == ("unknown key", 1, f"{stranger.public} from 127.0.0.1")
        assert world.serve_until(lambda: "does not let this key in" in connection.trouble)


def test_who_was_denied_is_told_so_when_it_sends_again(world: Guarded) -> None:
    with world.connected(new_pair()) as connection:
        connection.send([b"hello"])
        assert world.serve_until(lambda: "does not let this key in" in connection.trouble)

        with pytest.raises(KeyDeniedError, match="does not let this key in: it was revoked, or never added"):
            _send_on(world, connection)


def test_a_public_key_without_its_secret_is_not_heard(world: Guarded) -> None:
    stolen = world.key("client")
    with world.connected(type(stolen)(stolen.public, new_pair().secret)) as connection:
        connection.send([b"hello"])

        assert world.refused("another server's key")


def test_a_peer_that_means_another_server_is_not_heard(world: Guarded) -> None:
    with world.connected(world.key("worker"), server=new_pair().public) as connection:
        connection.send([b"hello"])

        assert world.refused("another server's key")
        assert world.serve_until(lambda: "may be of another broker" in connection.trouble)


def test_a_connection_says_that_nobody_answers_until_somebody_does() -> None:
    with guarded() as world:
        pair, endpoint = world.key("worker"), world.front.endpoint
    keys = ConnectionKeys(world.server.public, pair)
    with closing(connect(endpoint, keys=keys, linger=0)) as connection:
        connection.send([b"hello"])
        until(lambda: connection.trouble == f"nobody answers at {endpoint}", "it is known that nobody answers")
        with guarded(endpoint, server=world.server, allowed=world.allowed) as later:
            later.next()
            until(lambda: connection.trouble == "", "it is known that somebody does")


def test_a_key_is_heard_once_it_is_added(world: Guarded) -> None:
    late = new_pair()
    with world.connected(late) as connection:
        connection.send([b"hello"])
        assert world.refused("unknown key")
        world.allow(late, Allowed("late", "worker"))
    with world.connected(late) as connection:
        connection.send([b"hello again"])

        assert world.next()[2] == [b"hello again"]


def test_a_revoked_key_is_neither_heard_nor_answered_on_a_connection_that_it_has(world: Guarded) -> None:
    pair = world.key("worker", "gpu-1")
    with world.connected(pair) as connection:
        connection.send([b"hello"])
        peer, _, _ = world.next()
        world.allow(pair, Allowed("gpu-1", "worker", revoked=True))

        deadline = time.monotonic() + LOOK_AGAIN + 1
        assert world.serve_until(lambda: time.monotonic() > deadline)
        connection.send([b"result"])
        assert world.refused("revoked key")
        assert world.told[-1] == ("revoked key", 1, "gpu-1 from 127.0.0.1")
        with pytest.raises(PeerUnreachableError, match="revoked"):
            world.front.send(peer, [b"work"])


def test_a_revoked_key_does_not_come_in_again(world: Guarded) -> None:
    pair = world.key("client", "laptop")
    world.allow(pair, Allowed("laptop", "client", revoked=True))
    with world.connected(pair) as connection:
        connection.send([b"hello"])

        assert world.refused("revoked key")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", "closed without a word", id="another protocol"),
        pytest.param(b"\xff" + b"\0" * 200, "closed without a word", id="a broken greeting"),
        pytest.param(
            b"\xff" + b"\0" * 8 + b"\x7f\x03\x00CURVE" + b"\0" * 47 + b"\x00\xc8" + b"z" * 200,
            "broken handshake",
            id="a greeting and no handshake",
        ),
        pytest.param(random.Random(7).randbytes(4096), "closed without a word", id="noise"),
    ],
)
def test_junk_bytes_are_cut_off(world: Guarded, said: bytes, reason: str) -> None:
    with closing(world.raw()) as raw:
        raw.sendall(said)

        assert world.refused(reason)
        assert hung_up(world, raw)


def test_a_connection_that_says_nothing_is_cut_off() -> None:
    with guarded(handshake=0.3) as world, closing(world.raw()) as raw:
        assert world.refused("handshake not finished")
        assert hung_up(world, raw)
        assert world.front.connections == 0


def test_a_message_that_is_too_large_goes_nowhere_and_the_next_one_does(world: Guarded) -> None:
    with world.connected(world.key("worker", "big")) as connection:
        connection.send([b"small", b"x" * (MAX_MESSAGE - 1)])
        connection.send([b"small", b"x" * (MAX_MESSAGE - 10)])

        assert world.next()[2][1] == b"x" * (MAX_MESSAGE - 10)
        assert world.told == [("too large", 1, "big from 127.0.0.1")]


def test_a_message_of_too_many_frames_goes_nowhere(world: Guarded) -> None:
    with world.connected(world.key("worker")) as connection:
        connection.send([b""] * (front.MAX_FRAMES + 1))

        assert world.refused("too large")


def test_a_frame_of_twice_the_size_is_cut_off_before_it_is_read(world: Guarded) -> None:
    with world.connected(world.key("worker", "big")) as connection:
        connection.send([b"hello"])
        world.next()
        assert world.front.connections == 1
        connection.send([b"x" * (2 * MAX_MESSAGE + 1)])

        assert world.refused("too large")
        assert world.told == [("too large", 1, "a frame of big from 127.0.0.1; its connection is cut")]
        assert world.front.ended == 1


def test_first_frames_of_twice_the_size_are_counted_as_too_large_however_many_come_at_once(world: Guarded) -> None:
    with ExitStack() as stack:
        key = world.key("worker", "big")
        for _ in range(50):
            stack.enter_context(world.connected(key)).send([b"x" * (2 * MAX_MESSAGE + 1)])

        assert world.serve_until(lambda: world.front.refusals.counts["too large"] >= 50)
        assert set(world.front.refusals.counts) == {"too large"}


def test_a_command_of_a_handshake_that_is_too_large_is_counted_as_that(world: Guarded) -> None:
    with closing(greeted(world)) as raw:
        raw.sendall(b"\x06" + (1 << 40).to_bytes(8, "big") + b"z" * 1000)

        assert world.refused("too large")
        assert hung_up(world, raw)


def test_who_goes_without_a_word_is_not_taken_for_one_that_was_cut_off(world: Guarded) -> None:
    greeted(world).close()

    assert world.refused("handshake not finished")


def test_a_peer_that_hangs_up_is_no_refusal(world: Guarded) -> None:
    with world.connected(world.key("worker")) as connection:
        connection.send([b"hello"])
        world.next()
        connection.send([b"x" * (MAX_MESSAGE - 10)])

    assert world.serve_until(lambda: world.front.receive() is None and world.front.ended == 1)
    assert world.front.refusals.counts == {}


def test_an_endpoint_in_use_is_an_error_and_leaves_nothing(world: Guarded) -> None:
    with pytest.raises(DistilmqUserError, match=r"Cannot listen at tcp://127\.0\.0\.1:\d+: Address already in use"):
        front.listen(world.front.endpoint, keys=world.server, allowed=dict, max_message=MAX_MESSAGE)


def test_a_peer_may_not_call_itself_as_another_does(world: Guarded) -> None:
    """A fixed routing id is no way to take a connection over."""
    pair = world.key("worker")
    with zmq.Context() as context, context.socket(zmq.DEALER) as thief, world.connected(pair) as connection:
        connection.send([b"hello"])
        peer, _, _ = world.next()
        thief.linger = 0
        thief.setsockopt(zmq.IDENTITY, peer[8:])
        thief.curve_serverkey = world.server.public.encode()
        thief.curve_publickey, thief.curve_secretkey = pair.public.encode(), pair.secret.encode()
        thief.connect(world.front.endpoint)
        thief.send(b"it is me")
        connection.send([b"still here"])
        assert world.next()[2] == [b"still here"]
        world.front.send(peer, [b"work"])

        assert world.serve_until(lambda: connection.receive() == [b"work"])
        assert thief.poll(0) == 0


def _send_on(world: Guarded, connection: ZeromqConnection) -> None:
    """Sends until it is refused, or for as long as tests wait."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        connection.send([b"hello again"])
        world.front.poll(0.02)


def hung_up(world: Guarded, raw: socket.socket) -> bool:
    """Whether the other end closes the connection; what it says before is its greeting."""
    raw.setblocking(False)

    def closed() -> bool:
        try:
            while raw.recv(4096):
                pass
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        return True

    # Whoever listens lets go of it when it hears that libzmq did.
    return world.serve_until(closed)


def greeted(world: Guarded) -> socket.socket:
    """A connection on which greetings were exchanged."""
    raw = world.raw()
    raw.sendall(b"\xff" + b"\0" * 8 + b"\x7f\x03\x00CURVE" + b"\0" * 47)
    received = b""
    while len(received) < 64:
        received += raw.recv(64)
    assert world.serve_until(lambda: world.front.connections == 1)
    return raw
