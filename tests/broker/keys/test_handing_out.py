"""The connection files of a broker: made once, kept right after."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from distilmq.transport.connection_file import read_connection
from distilmq.transport.keys import Allowed
from distilmq_broker.keys.handing_out import hand_out, hand_out_first, known_endpoint, reachable
from distilmq_broker.keys.store import KeyStore


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "broker")


def test_the_first_start_makes_a_file_for_clients_and_one_for_workers(store: KeyStore) -> None:
    files = hand_out_first(store, "tcp://127.0.0.1:5555")

    client, worker = read_connection(files["client"]), read_connection(files["worker"])
    assert files == {"client": store.folder / "client.json", "worker": store.folder / "worker.json"}
    assert (client.role, worker.role) == ("client", "worker")
    assert {client.server_key, worker.server_key} == {store.server().public}
    assert store.allowed() == {
        client.public_key: Allowed("client", "client"),
        worker.public_key: Allowed("worker", "worker"),
    }


def test_later_starts_keep_the_keys_and_tell_the_files_a_new_address(store: KeyStore) -> None:
    before = read_connection(hand_out_first(store, "tcp://127.0.0.1:5555")["client"])

    files = hand_out_first(store, "tcp://127.0.0.1:6666")

    assert read_connection(files["client"]) == before.model_copy(update={"endpoint": "tcp://127.0.0.1:6666"})
    assert len(store.entries()) == 2


def test_new_keys_of_the_broker_are_in_its_files_from_the_next_start_on(store: KeyStore) -> None:
    before = store.server()
    hand_out_first(store, "tcp://127.0.0.1:5555")

    (store.folder / "server.json").unlink()
    files = hand_out_first(store, "tcp://127.0.0.1:5555")

    assert store.server() != before
    assert {read_connection(path).server_key for path in files.values()} == {store.server().public}


def test_a_file_that_was_taken_away_is_not_made_again(store: KeyStore) -> None:
    hand_out_first(store, "tcp://127.0.0.1:5555")["client"].unlink()

    assert list(hand_out_first(store, "tcp://127.0.0.1:5555")) == ["worker"]
    assert known_endpoint(store) == "tcp://127.0.0.1:5555"


def test_a_key_that_was_made_before_the_first_start_takes_no_file_away(store: KeyStore, tmp_path: Path) -> None:
    hand_out(store, "worker", "gpu-1", "tcp://broker:5555", tmp_path / "gpu-1.json")

    assert list(hand_out_first(store, "tcp://127.0.0.1:5555")) == ["client", "worker"]


@pytest.mark.parametrize("everywhere", ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://[::]:5555"])
def test_a_broker_that_listens_everywhere_is_reached_under_its_name(everywhere: str) -> None:
    assert reachable(everywhere) == f"tcp://{socket.gethostname()}:5555"
    assert reachable(everywhere, "broker.example") == "tcp://broker.example:5555"
    assert reachable("tcp://10.0.0.7:5555") == "tcp://10.0.0.7:5555"
