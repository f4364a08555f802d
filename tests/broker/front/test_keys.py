"""A broker on TCP as a program: what each key opens, and that a canary never sings for whoever has none."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
import zmq

from distilmq.protocol import messages
from distilmq.protocol.messages import broker
from distilmq.transport.connection_file import ConnectionFile, read_connection
from distilmq.transport.keys import ConnectionKeys, new_pair
from distilmq.transport.zeromq import connect
from distilmq_broker.keys.handing_out import hand_out
from distilmq_broker.keys.store import KeyStore
from tests.broker.front.brokers import BrokerClient, Program, broker_in
from tests.broker.front.canary import CANARY_RUN, Canary, canary_messages, canary_plan
from tests.broker.recorded import rows_of
from tests.broker.serving import Client, Peer, Worker, chain
from tests.integration.runs import until

RUN, OTHER = "run-1", "run-2"


class Sender(Protocol):
    """What a rogue has."""

    def send(self, frames: list[bytes]) -> None:
        """Sends frames, if anybody takes them."""
        ...


class Guarded:
    """A broker that listens on TCP."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.store = KeyStore(program.folder)

    def file(self, role: str) -> ConnectionFile:
        """One that it made at its start."""
        return read_connection(self.store.folder / f"{role}.json")

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return self.file("worker").endpoint

    def client(self) -> BrokerClient:
        """A client of the broker itself, with the client's key."""
        return BrokerClient(self.program)

    def client_of(self, run: str) -> Client:
        """A client of a run, with the client's key."""
        return Client("", run=run, connection=self.file("client").connect())

    def worker_of(self, run: str) -> Worker:
        """A step process, with the worker's key."""
        return Worker("", run=run, connection=self.file("worker").connect())

    def logged(self, *words: str) -> bool:
        """Whether a line of the broker's log has all of the words."""
        lines = self.program.log.splitlines()
        return any(all(word in line for word in words) for line in lines)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    """A broker on a free port of this machine."""
    with broker_in(tmp_path / "broker", tcp=True) as program:
        yield Guarded(program)


@contextmanager
def without_a_key(guarded: Guarded) -> Iterator[Sender]:
    """A peer that does not encrypt."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(guarded.endpoint)
        yield _Plain(socket)


class _Plain:
    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket

    def send(self, frames: list[bytes]) -> None:
        self._socket.send_multipart(frames)


@contextmanager
def with_an_unknown_key(guarded: Guarded) -> Iterator[Sender]:
    """A peer that made itself a key."""
    keys = ConnectionKeys(guarded.store.server().public, new_pair())
    with closing(connect(guarded.endpoint, keys=keys, linger=0)) as connection:
        yield connection


@contextmanager
def with_a_revoked_key(guarded: Guarded) -> Iterator[Sender]:
    """A client that was let in once."""
    path = guarded.store.folder / "former.json"
    hand_out(guarded.store, "client", "former", guarded.endpoint, path)
    guarded.store.revoke("former")
    with closing(read_connection(path).connect(linger=0)) as connection:
        yield connection


@contextmanager
def with_a_workers_key(guarded: Guarded) -> Iterator[Sender]:
    """A worker that plays the client, for a run that it is no part of."""
    with closing(guarded.file("worker").connect(linger=0)) as connection:
        yield connection


ROGUES = [
    # Which of the two ends finds it out first is a matter of luck.
    pytest.param(without_a_key, [('"no key"',), ('"handshake not finished"',)], id="without a key"),
    pytest.param(with_an_unknown_key, [("turned_away", '"unknown key"')], id="with an unknown key"),
    pytest.param(with_a_revoked_key, [("turned_away", '"revoked key"')], id="with a revoked key"),
    pytest.param(with_a_workers_key, [("turned_away", '"out of role"')], id="with a worker's key"),
]


@pytest.mark.parametrize(("rogue", "logged"), ROGUES)
def test_a_canary_never_sings_and_the_run_beside_it_is_exact(
    guarded: Guarded, tmp_path: Path, rogue: object, logged: list[tuple[str, ...]]
) -> None:
    path = tmp_path / "canary"
    with ExitStack() as stack:
        client = stack.enter_context(guarded.client())
        client.start(RUN, chain("load"))
        worker = stack.enter_context(guarded.worker_of(RUN))
        worker.join()
        batch, _ = worker.batch()
        sender: Sender = stack.enter_context(rogue(guarded))  # type: ignore[operator]
        for frames in canary_messages(path, RUN, session="rogue"):
            sender.send(frames)
        until(lambda: any(guarded.logged(*words) for words in logged), "the broker has turned it away")
        told = computed(guarded)
        worker.give(batch.lease, rows_of("load", 0), last=True)
        follower = stack.enter_context(guarded.client_of(RUN))
        follower.send(messages.Watch(session=follower.session))
        finished, _ = follower.expect(messages.Finished)
        rows = follower.fetch("load")
        runs = client.runs()

    assert told == f"there is no run '{CANARY_RUN}'"
    assert CANARY_RUN not in runs
    assert (finished.outcome, rows) == ("done", rows_of("load", 0))
    assert not path.exists()


def test_the_canary_sings_for_a_client_who_may_run_code(guarded: Guarded, tmp_path: Path) -> None:
    """Else the tests above would show nothing."""
    path = tmp_path / "canary"
    with guarded.client() as client, guarded.worker_of(RUN) as worker:
        client.start(RUN, canary_plan(pickle.dumps(Canary(path))))
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0))

        assert until(path.exists, "the routing function was loaded")


def test_a_row_that_holds_a_pickle_is_bytes_for_who_reads_it(guarded: Guarded, tmp_path: Path) -> None:
    path = tmp_path / "canary"
    rows = [{"text": pickle.dumps(Canary(path))}]
    with guarded.client() as client, guarded.worker_of(RUN) as worker:
        client.start(RUN, chain("load"))
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows, last=True)
        with guarded.client_of(RUN) as follower:
            follower.send(messages.Watch(session=follower.session))
            follower.expect(messages.Finished)

            assert follower.fetch("load") == rows
    assert not path.exists()


def test_a_workers_key_does_not_make_a_client(guarded: Guarded) -> None:
    with guarded.client() as client:
        client.start(RUN, chain("load"))
        with Peer("", "client", run=RUN, connection=guarded.file("worker").connect()) as peer:
            peer.send(messages.Hello(role="client", worker="rogue", session=peer.session))
            refused, _ = peer.expect(messages.Refused)
        with BrokerClient(guarded.program, "worker") as rogue:
            denied = rogue.ask(broker.ListRuns(session=rogue.session))

    assert refused.reason == "a worker's key does not open the door to a client"
    assert isinstance(denied, messages.Refused)
    assert "a worker's key does not allow to say list_runs" in denied.reason


def test_a_clients_key_does_not_make_a_worker(guarded: Guarded) -> None:
    with guarded.client() as client:
        client.start(RUN, chain("load"))
        with Peer("", run=RUN, connection=guarded.file("client").connect()) as peer:
            peer.send(messages.Hello(role="worker", worker="rogue", session=peer.session))
            refused, _ = peer.expect(messages.Refused)

    assert refused.reason == "a client's key does not open the door to a worker"


def test_a_worker_of_another_run_changes_nothing_in_this_one(guarded: Guarded) -> None:
    with guarded.client() as client, guarded.worker_of(RUN) as worker, guarded.worker_of(OTHER) as stranger:
        client.start(RUN, chain("load"))
        client.start(OTHER, chain("other"))
        worker.join()
        stranger.join()
        batch, _ = worker.batch()
        foreign, _ = stranger.batch()
        with Worker("", run=RUN, connection=guarded.file("worker").connect()) as lost:
            lost.session = stranger.session
            lost.give(foreign.lease.model_copy(update={"seq_no": (99,)}), rows_of("load", 9), last=True)
            lost.expect(messages.Who)
        worker.give(batch.lease, rows_of("load", 0), last=True)
        with guarded.client_of(RUN) as follower:
            follower.send(messages.Watch(session=follower.session))
            follower.expect(messages.Finished)

            assert follower.fetch("load") == rows_of("load", 0)


def test_the_broker_says_which_files_are_to_be_used(tmp_path: Path) -> None:
    with broker_in(tmp_path / "broker", tcp=True) as program:
        assert program.process.stdout is not None
        line = program.process.stdout.readline()
        folder = tmp_path / "broker" / "keys"

        assert line == f"Clients connect with {folder}/client.json, workers with {folder}/worker.json.\n"


def computed(guarded: Guarded) -> str:
    """What a worker that is eager to compute for the rogue's run is told."""
    with guarded.worker_of(CANARY_RUN) as worker:
        worker.send(messages.Hello(role="worker", worker="eager", session=worker.session))
        refused, _ = worker.expect(messages.Refused)
    return refused.reason
