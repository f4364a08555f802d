"""Connection files: what is in them, who may read them, and which one a user means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from distilmq.errors import DistilmqUserError
from distilmq.transport.connection_file import ConnectionFile, find_connection, read_connection, write_connection
from distilmq.transport.keys import KeyRole, new_pair
from tests.sdk.transport.fronts import guarded


def connection(role: KeyRole = "client", endpoint: str = "tcp://broker:5555") -> ConnectionFile:
    server, own = new_pair(), new_pair()
    return ConnectionFile(
        endpoint=endpoint,
        server_key=server.public,
        role=role,
        name="laptop",
        public_key=own.public,
        secret_key=SecretStr(own.secret),
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_connection(tmp_path / "client.json", connection())
    return tmp_path / "client.json"


def test_a_file_is_read_as_it_was_written_and_is_its_owners_alone(tmp_path: Path) -> None:
    original = connection()
    path = tmp_path / "client.json"
    write_connection(path, original)

    assert path.stat().st_mode & 0o777 == 0o600
    assert read_connection(path) == original
    assert list(tmp_path.iterdir()) == [path]


def test_the_secret_is_not_shown() -> None:
    found = connection()

    assert found.secret_key.get_secret_value() not in f"{found!r} {found} {found.keys!r} {found.model_dump_json()}"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o602])
def test_a_file_that_others_can_read_is_refused_with_the_fix(written: Path, mode: int) -> None:
    written.chmod(mode)

    with pytest.raises(DistilmqUserError, match=f"chmod 600 {written}"):
        read_connection(written)


def test_a_file_that_is_none_is_refused_without_showing_what_is_in_it(written: Path) -> None:
    values = json.loads(written.read_text())
    secret = values["secret_key"]
    written.write_text(json.dumps({**values, "secret_key": secret[:-1], "role": "owner"}))

    with pytest.raises(DistilmqUserError) as caught:
        read_connection(written)

    assert str(caught.value).startswith(f"{written} is no connection file: role: Input should be 'client' or 'worker'")
    assert "secret_key: Value error, not a key" in str(caught.value)
    assert secret[:-1] not in f"{caught.value} {caught.value.__cause__!r}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match="No such file or directory"):
        read_connection(tmp_path / "none.json")


def test_an_address_alone_takes_its_keys_from_the_environment(written: Path) -> None:
    environment = {"DISTILMQ_CONNECTION": str(written)}
    stored = read_connection(written)

    by_address = find_connection("tcp://10.0.0.7:6000", role="client", environment=environment)

    assert by_address == stored.model_copy(update={"endpoint": "tcp://10.0.0.7:6000"})
    assert find_connection(None, role="client", environment=environment) == stored
    assert find_connection(written, role="client", environment={}) == stored


@pytest.mark.parametrize("target", [None, "tcp://10.0.0.7:6000"])
def test_without_keys_the_fix_is_named(target: str | None) -> None:
    with pytest.raises(DistilmqUserError, match=r"DISTILMQ_CONNECTION.*keys/worker\.json"):
        find_connection(target, role="worker", environment={})


def test_a_key_of_the_other_role_is_refused_before_it_is_used(written: Path) -> None:
    with pytest.raises(DistilmqUserError, match="has the key of a client, and this needs one of a worker"):
        find_connection(written, role="worker", environment={})


def test_the_holder_of_a_file_gets_through(tmp_path: Path) -> None:
    with guarded() as world:
        pair = world.key("worker")
        found = ConnectionFile(
            endpoint=world.front.endpoint,
            server_key=world.server.public,
            role="worker",
            name="gpu-1",
            public_key=pair.public,
            secret_key=SecretStr(pair.secret),
        )
        write_connection(tmp_path / "worker.json", found)
        opened = read_connection(tmp_path / "worker.json").connect(linger=0)
        opened.send([b"hello"])

        assert world.next()[1:] == ("worker", [b"hello"])
        opened.close()
