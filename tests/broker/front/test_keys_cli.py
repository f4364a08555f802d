"""`distilmq keys` as an operator types it, and a front that heeds it while it is at work."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from distilmq.transport import front
from distilmq.transport.connection_file import read_connection
from distilmq.transport.front import LOOK_AGAIN
from distilmq_broker.front.keys_cli import app
from distilmq_broker.keys.handing_out import hand_out_first
from distilmq_broker.keys.store import KeyStore
from tests.sdk.transport.fronts import MAX_MESSAGE, Guarded


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Guarded]:
    """A front as a broker in `tmp_path / "broker"` has it."""
    store = KeyStore(tmp_path / "broker")
    world = Guarded()
    world.front = front.listen(
        "tcp://127.0.0.1:*", keys=store.server(), allowed=store.allowed, max_message=MAX_MESSAGE, linger=0.5
    )
    with closing(world.front):
        hand_out_first(store, world.front.endpoint)
        yield world


def keys(folder: Path, *arguments: str) -> Result:
    """Runs a command in a folder, where the broker's directory is known from the environment."""
    with contextlib.chdir(folder):
        return CliRunner().invoke(app, arguments, env={"DISTILMQ_BROKER_DIR": str(folder / "broker")})


def test_the_commands_are_among_those_of_distilmq(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "distilmq", "keys", "new", "client", "laptop", "--dir", "broker"]
    made = subprocess.run(
        [*command, "--endpoint", "tcp://broker:5555"], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )

    assert (made.returncode, made.stdout) == (0, "Wrote laptop.json. Its key may come in from now on.\n")
    assert read_connection(tmp_path / "laptop.json").endpoint == "tcp://broker:5555"


def test_a_key_that_is_made_while_the_broker_is_at_work_gets_through(world: Guarded, tmp_path: Path) -> None:
    made = keys(tmp_path, "new", "worker", "gpu-1")
    with closing(read_connection(tmp_path / "gpu-1.json").connect(linger=0)) as connection:
        connection.send([b"hello"])
        peer, role, _ = world.next()

        assert (made.exit_code, made.stdout) == (0, "Wrote gpu-1.json. Its key may come in from now on.\n")
        assert (role, world.front.name_of(peer)) == ("worker", "gpu-1")


def test_a_key_that_is_revoked_while_the_broker_is_at_work_does_not(world: Guarded, tmp_path: Path) -> None:
    with closing(read_connection(tmp_path / "broker" / "keys" / "client.json").connect(linger=0)) as connection:
        connection.send([b"hello"])
        world.next()

        revoked = keys(tmp_path, "revoke", "client")
        in_force = time.monotonic() + LOOK_AGAIN
        assert world.serve_until(lambda: time.monotonic() > in_force)
        connection.send([b"hello again"])

        assert (revoked.exit_code, revoked.stdout) == (0, "The key of client is not let in any more.\n")
        assert world.refused("revoked key")


def test_a_key_made_elsewhere_gets_through_once_it_is_added(world: Guarded, tmp_path: Path) -> None:
    listed = [json.loads(line) for line in keys(tmp_path, "list", "--json").stdout.splitlines()]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    made = keys(
        elsewhere,
        *("new", "worker", "gpu-2", "--server-key", listed[0]["public_key"], "--endpoint", world.front.endpoint),
    )
    connection = read_connection(elsewhere / "gpu-2.json")
    assert f"distilmq keys add worker gpu-2 -- '{connection.public_key}'" in made.stdout
    assert not (elsewhere / "broker").exists()
    with closing(connection.connect(linger=0)) as early:
        early.send([b"too early"])
        assert world.refused("unknown key")

    added = keys(tmp_path, "add", "worker", "gpu-2", "--", connection.public_key)
    with closing(connection.connect(linger=0)) as late:
        late.send([b"hello"])

        assert added.exit_code == 0, added.stderr
        assert world.next()[2] == [b"hello"]


def test_the_list_shows_the_brokers_key_and_all_that_were_ever_let_in(world: Guarded, tmp_path: Path) -> None:
    keys(tmp_path, "revoke", "worker")

    shown = keys(tmp_path, "list").stdout.splitlines()

    store = KeyStore(tmp_path / "broker")
    client, worker = store.entries()
    assert shown == [
        f"broker  {'':24}{store.server().public}",
        f"client  {'client':24}{client.public_key}",
        f"worker  {'worker':24}{worker.public_key}  revoked {worker.revoked}",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list",), "There are no keys in"),
        (("new", "client", "laptop"), "Say with --endpoint where the broker listens"),
        (("new", "client", "laptop", "--endpoint", "broker"), "endpoint: Value error, not tcp://HOST:PORT"),
        (("new", "client", "laptop", "--server-key", "x"), "Say with --endpoint where the broker listens"),
        (("new", "client", "laptop", "--endpoint", "tcp://b:1", "--server-key", "x"), "server_key: Value error"),
        (("new", "client", "laptop", "--endpoint", "tcp://b:1", "--out", "no/l.json"), "no/l.json cannot be written"),
        (("add", "client", "laptop", "x"), "is no public key"),
        (("revoke", "laptop"), "No key in force is called laptop. There are: none"),
    ],
)
def test_a_mistake_is_told_with_what_to_do_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    failed = keys(tmp_path, *arguments)

    assert failed.exit_code == 1
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr
    assert KeyStore(tmp_path / "broker").entries() == []
    assert not (tmp_path / "laptop.json").exists()


def test_a_connection_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "laptop.json").write_text("mine")

    failed = keys(tmp_path, "new", "client", "laptop", "--endpoint", "tcp://broker:5555")

    assert failed.exit_code == 1
    assert (tmp_path / "laptop.json").read_text() == "mine"
