"""The keys of a broker on disk: added, revoked, and in force at once."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.transport.keys import Allowed, new_pair
from distilmq_broker.keys.store import Entry, KeyStore

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
AT_NOON = "2026-11-27T12:00:00+00:00"


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "broker", now=lambda: NOON)


def test_a_broker_has_one_pair_of_keys_for_good(store: KeyStore, tmp_path: Path) -> None:
    made = store.server()

    assert KeyStore(tmp_path / "broker").server() == made
    assert (store.folder / "server.json").stat().st_mode & 0o777 == 0o600
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_what_one_process_adds_and_revokes_is_in_force_in_another(store: KeyStore, tmp_path: Path) -> None:
    at_work = KeyStore(tmp_path / "broker")
    assert at_work.allowed() == {}
    key = new_pair().public

    store.add("worker", "gpu-1", key)
    assert at_work.allowed() == {key: Allowed("gpu-1", "worker")}
    store.revoke("gpu-1")
    assert at_work.allowed() == {key: Allowed("gpu-1", "worker", revoked=True)}
    assert store.entries() == [Entry(name="gpu-1", role="worker", public_key=key, added=AT_NOON, revoked=AT_NOON)]


def test_the_list_is_the_same_object_until_it_changes(store: KeyStore) -> None:
    store.add("client", "laptop", new_pair().public)

    before = store.allowed()
    assert store.allowed() is before
    store.add("client", "desk", new_pair().public)
    assert store.allowed() is not before


def test_a_broken_list_leaves_the_last_one_in_force_and_is_told(store: KeyStore, tmp_path: Path) -> None:
    told: list[str] = []
    at_work = KeyStore(tmp_path / "broker", tell=told.append)
    store.add("client", "laptop", new_pair().public)
    before = at_work.allowed()

    (store.folder / "allowed.json").write_text("{")

    assert at_work.allowed() is before
    assert at_work.allowed() is before
    assert len(told) == 1
    assert "allowed.json cannot be read" in told[0]


def test_a_name_is_given_once_and_again_when_its_key_is_revoked(store: KeyStore) -> None:
    store.add("client", "laptop", new_pair().public)
    with pytest.raises(DistilmqUserError, match="There is a key of the name laptop"):
        store.add("client", "laptop", new_pair().public)

    store.revoke("laptop")
    store.add("client", "laptop", new_pair().public)

    assert [bool(entry.revoked) for entry in store.entries()] == [True, False]


def test_a_revoked_key_is_not_added_again(store: KeyStore) -> None:
    key = new_pair().public
    store.add("worker", "gpu-1", key)
    store.revoke(key)

    with pytest.raises(DistilmqUserError, match="was revoked"):
        store.add("worker", "gpu-2", key)


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("two words", new_pair().public, "no name for a key"),
        ("../up", new_pair().public, "no name for a key"),
        ("laptop", "short", "no public key"),
        ("laptop", "x" * 39 + '"', "no public key"),
    ],
    ids=["no name", "a path", "too short", "no Z85"],
)
def test_what_is_no_name_or_no_key_is_refused(store: KeyStore, name: str, key: str, message: str) -> None:
    with pytest.raises(DistilmqUserError, match=message):
        store.add("client", name, key)

    assert store.entries() == []


def test_revoking_what_is_not_there_says_what_is(store: KeyStore) -> None:
    store.add("client", "laptop", new_pair().public)

    with pytest.raises(DistilmqUserError, match=r"No key in force is called desk\. There are: laptop"):
        store.revoke("desk")


def test_a_folder_that_others_can_look_into_is_refused_with_the_fix(store: KeyStore) -> None:
    store.server()
    store.folder.chmod(0o755)

    with pytest.raises(DistilmqUserError, match=f"chmod 700 {store.folder}"):
        store.server()


def test_a_damaged_pair_of_the_broker_is_named_and_not_shown(store: KeyStore) -> None:
    secret = store.server().secret
    path = store.folder / "server.json"
    path.write_text(path.read_text().replace(secret, secret[:-1]))

    with pytest.raises(DistilmqUserError, match="does not hold the keys of a broker") as caught:
        store.server()

    assert secret[:-1] not in f"{caught.value} {caught.value.__cause__!r}"


def test_keys_that_are_added_at_the_same_time_are_all_there(store: KeyStore, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from distilmq.transport.keys import new_pair;"
        "from distilmq_broker.keys.store import KeyStore;"
        "[KeyStore(Path(sys.argv[1])).add('worker', f'{sys.argv[2]}-{n}', new_pair().public) for n in range(20)]"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "broker")]
    adding = [subprocess.Popen([*command, name]) for name in ("a", "b")]

    assert [process.wait(60) for process in adding] == [0, 0]
    assert len(store.entries()) == 40
