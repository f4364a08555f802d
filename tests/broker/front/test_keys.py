"""A broker on TCP as a program: what each key opens, and that a canary never sings for whoever has none."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol

import psutil
import pytest
import zmq
from pydantic import SecretStr

from distilmq.protocol import messages
from distilmq.transport.connection_file import read_connection, write_connection
from distilmq.transport.keys import ConnectionKeys, KeyRole, new_pair
from distilmq.transport.zeromq import connect
from distilmq_broker.front.run_tokens import RunTokens
from distilmq_broker.keys.handing_out import hand_out
from distilmq_broker.keys.store import KeyStore
from tests.broker.front.brokers import PATIENCE, BrokerClient, Program, broker_in, client_of, worker_of
from tests.broker.front.canary import CANARY_RUN, canary_messages, canary_plan
from tests.broker.recorded import rows_of
from tests.broker.serving import chain
from tests.canary import Canary
from tests.sdk.transport.flooding import HALF_OPEN, JOINS_WITHIN, flood
from tests.stopwatch import Stopwatch
from tests.waiting import until

RUN, OTHER = "run-1", "run-2"


class Sender(Protocol):
    """What a rogue has."""

    def send(self, frames: list[bytes]) -> None:
        """Sends frames, if anybody takes them."""
        ...


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A broker on a free port of this machine."""
    with broker_in(tmp_path / "broker", tcp=True) as started:
        yield started


@contextmanager
def without_a_key(program: Program) -> Iterator[Sender]:
    """A peer that does not encrypt."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(program.endpoint)
        yield _Plain(socket)


class _Plain:
    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket

    def send(self, frames: list[bytes]) -> None:
        self._socket.send_multipart(frames)


@contextmanager
def with_an_unknown_key(program: Program) -> Iterator[Sender]:
    """A peer that made itself a key."""
    keys = ConnectionKeys(KeyStore(program.folder).server().public, new_pair())
    with closing(connect(program.endpoint, keys=keys, linger=0)) as connection:
        yield connection


@contextmanager
def with_a_revoked_key(program: Program) -> Iterator[Sender]:
    """A client that was let in once."""
    store = KeyStore(program.folder)
    path = store.folder / "former.json"
    hand_out(store, "client", "former", program.endpoint, path)
    store.revoke("former")
    with closing(read_connection(path).connect(linger=0)) as connection:
        yield connection


@contextmanager
def with_a_workers_key(program: Program) -> Iterator[Sender]:
    """A worker that plays the client, for a run that it is no part of."""
    with closing(program.connection("worker")) as connection:
        yield connection


ROGUES = [
    # Which of the two ends finds it out first is a matter of luck.
    pytest.param(without_a_key, [('"no key"',), ('"handshake not finished"',)], id="without a key"),
    pytest.param(with_an_unknown_key, [("turned_away", '"unknown key"')], id="with an unknown key"),
    pytest.param(with_a_revoked_key, [("turned_away", '"revoked key"')], id="with a revoked key"),
    pytest.param(with_a_workers_key, [("out of role", "a worker's key does not allow")], id="with a worker's key"),
]


@pytest.mark.parametrize(("rogue", "logged"), ROGUES)
def test_a_canary_never_sings_and_the_run_beside_it_is_exact(
    program: Program, tmp_path: Path, rogue: object, logged: list[tuple[str, ...]]
) -> None:
    path = tmp_path / "canary"
    with ExitStack() as stack:
        client = stack.enter_context(BrokerClient(program))
        client.start(RUN, chain("load"))
        worker = stack.enter_context(worker_of(program, RUN))
        worker.join()
        batch, _ = worker.batch()
        sender: Sender = stack.enter_context(rogue(program))  # type: ignore[operator]
        for frames in canary_messages(path, RUN, session="rogue"):
            sender.send(frames)
        until(lambda: any(logs(program, *words) for words in logged), "the broker has turned it away")
        told = computed(program)
        worker.give(batch.lease, rows_of("load", 0), last=True)
        follower = stack.enter_context(client_of(program, RUN))
        follower.send(messages.Watch(session=follower.session))
        finished, _ = follower.expect(messages.Finished)
        rows = follower.fetch("load")
        runs = client.runs()

    assert told == f"there is no run '{CANARY_RUN}'"
    assert CANARY_RUN not in runs
    assert (finished.outcome, rows) == ("done", rows_of("load", 0))
    assert not path.exists()


def test_the_canary_sings_for_a_client_who_may_run_code(program: Program, tmp_path: Path) -> None:
    """Else the tests above would show nothing."""
    path = tmp_path / "canary"
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, canary_plan(pickle.dumps(Canary(path))))
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0))

        assert until(path.exists, "the routing function was loaded")


def test_a_row_that_holds_a_pickle_is_bytes_for_who_reads_it(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "canary"
    rows = [{"text": pickle.dumps(Canary(path))}]
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, chain("load"))
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows, last=True)
        with client_of(program, RUN) as follower:
            follower.send(messages.Watch(session=follower.session))
            follower.expect(messages.Finished)

            assert follower.fetch("load") == rows
    assert not path.exists()


@pytest.mark.parametrize(
    ("role", "words", "code"),
    [("worker", ["worker", "--connect"], 2), ("client", ["runs", "list", "--broker"], 1)],
)
def test_a_program_whose_key_was_never_added_ends_with_the_reason(
    program: Program, role: KeyRole, words: list[str], code: int, tmp_path: Path
) -> None:
    known, own = read_connection(program.folder / "keys" / f"{role}.json"), new_pair()
    changed = {"public_key": own.public, "secret_key": SecretStr(own.secret)}
    write_connection(tmp_path / "own.json", known.model_copy(update=changed))

    ended = subprocess.run(
        [sys.executable, "-m", "distilmq", *words, str(tmp_path / "own.json")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert ended.returncode == code
    assert "does not let this key in: it was revoked, or never added" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_worker_of_another_run_changes_nothing_in_this_one(program: Program) -> None:
    with BrokerClient(program) as client, worker_of(program, RUN) as worker, worker_of(program, OTHER) as stranger:
        client.start(RUN, chain("load"))
        client.start(OTHER, chain("other"))
        worker.join()
        stranger.join()
        batch, _ = worker.batch()
        foreign, _ = stranger.batch()
        with worker_of(program, RUN, session=stranger.session) as lost:
            lost.give(foreign.lease.model_copy(update={"seq_no": (99,)}), rows_of("load", 9), last=True)
            lost.expect(messages.Who)
        worker.give(batch.lease, rows_of("load", 0), last=True)
        with client_of(program, RUN) as follower:
            follower.send(messages.Watch(session=follower.session))
            follower.expect(messages.Finished)

            assert follower.fetch("load") == rows_of("load", 0)


@pytest.mark.parametrize("token", ["", "0" * 32, "of another run"])
def test_a_worker_that_was_given_no_slot_of_a_run_is_not_heard_by_it(program: Program, token: str) -> None:
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, chain("load"))
        client.start(OTHER, chain("other"))
        worker.join()
        batch, _ = worker.batch()
        shown = token_of(program, OTHER) if token == "of another run" else token
        with worker_of(program, RUN, session=worker.session, token=shown) as stranger:
            stranger.give(batch.lease, rows_of("load", 9), last=True)
            refused, _ = stranger.expect(messages.Refused)
            stranger.send(messages.Hello(role="worker", worker="stranger", session="stranger"))
            stranger.expect(messages.Refused)
        worker.give(batch.lease, rows_of("load", 0), last=True)
        with client_of(program, RUN) as follower:
            follower.send(messages.Watch(session=follower.session))
            follower.expect(messages.Finished)

            assert follower.fetch("load") == rows_of("load", 0)

    assert refused.reason == f"the broker gave no slot of run '{RUN}' to this worker"
    assert logs(program, "turned_away", '"another run"', f"a worker without a slot of run {RUN}")


@pytest.mark.parametrize("address", [b"", RUN.encode(), b"\xff\xfe"], ids=["the broker", "a run", "nobody"])
def test_junk_from_a_peer_with_a_key_is_counted_and_a_good_worker_joins_meanwhile(
    program: Program, address: bytes
) -> None:
    junk = [[address], [address, b""], [address, b"\x01", b"\xc1"], [address, b"\x01", *[b"x"] * 500]]
    with BrokerClient(program) as client, closing(program.connection("client")) as rogue:
        client.start(RUN, chain("load"))
        for frames in junk * 10:
            rogue.send(frames)
        with worker_of(program, RUN) as worker:
            worker.hello()
        if address == b"":
            until(lambda: logs(program, "turned_away", '"broken message"'), "the broker has counted it")
        elif address == RUN.encode():
            log = program.run(RUN) / "pipeline.log"
            until(lambda: "broken_message" in log.read_text(), "the run has counted it")
        else:
            until(lambda: logs(program, "turned_away", '"no such run"'), "the broker has counted it")

        assert RUN in client.runs()


def test_ten_thousand_half_open_connections_keep_no_worker_from_joining_a_run(program: Program) -> None:
    with BrokerClient(program) as client, flood(program.endpoint, HALF_OPEN) as flooding:
        client.start(RUN, chain("load"))
        until(lambda: psutil.Process(program.process.pid).num_fds() > HALF_OPEN, "the broker has taken them all")
        assert flooding.poll() is None
        watch = Stopwatch()
        with worker_of(program, RUN) as worker:
            worker.hello()

            assert watch.seconds < JOINS_WITHIN


def computed(program: Program) -> str:
    """What a worker that is eager to compute for the rogue's run is told."""
    with worker_of(program, CANARY_RUN) as worker:
        worker.send(messages.Hello(role="worker", worker="eager", session=worker.session))
        refused, _ = worker.expect(messages.Refused)
    return refused.reason


def token_of(program: Program, run: str) -> str:
    """What a worker with a slot of a run shows."""
    return RunTokens(KeyStore(program.folder).server().secret).of(run)


def logs(program: Program, *words: str) -> bool:
    """Whether a line of the broker's log has all of the words."""
    lines = (program.folder / "broker.log").read_text().splitlines()
    return any(all(word in line for word in words) for line in lines)
