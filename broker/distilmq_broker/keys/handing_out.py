"""Connection files that a broker hands out: for clients and for workers at its first start, others on demand."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from pydantic import SecretStr, ValidationError

from distilmq.errors import DistilmqUserError
from distilmq.transport.connection_file import ConnectionFile, read_connection, write_connection
from distilmq.transport.keys import KeyRole, new_pair
from distilmq_broker.keys.store import KeyStore

_ROLES: tuple[KeyRole, ...] = ("client", "worker")
_EVERYWHERE = re.compile(r"^tcp://(0\.0\.0\.0|\*|\[::\]):")


def hand_out_first(store: KeyStore, endpoint: str, *, host: str = "") -> dict[KeyRole, Path]:
    """Makes `keys/client.json` and `keys/worker.json` where they never were; else tells them the broker's address.

    Args:
        store: of the broker.
        endpoint: where it listens, as it was bound.
        host: under which name others reach this machine; its own name where the broker listens on all addresses.

    Returns:
        The files that are there: who took one away has a reason.
    """
    reached = reachable(endpoint, host)
    known = {entry.name for entry in store.entries()}
    found: dict[KeyRole, Path] = {}
    for role in _ROLES:
        path = store.folder / f"{role}.json"
        if role not in known:
            hand_out(store, role, role, reached, path)
        if path.exists():
            _update(path, reached, store.server().public)
            found[role] = path
    return found


def hand_out(store: KeyStore, role: KeyRole, name: str, endpoint: str, path: Path) -> None:
    """Writes a connection file with a new key, and lets that in.

    Raises:
        DistilmqUserError: the name is taken, or the file cannot be written; then the key is in no list.
    """
    connection = draft_connection(store.server().public, role, name, endpoint)
    write_connection(path, connection)
    try:
        store.add(role, name, connection.public_key)
    except DistilmqUserError:
        path.unlink()
        raise


def draft_connection(server_key: str, role: KeyRole, name: str, endpoint: str) -> ConnectionFile:
    """A new key that the broker has yet to be told of.

    Raises:
        DistilmqUserError: the server's key is none, or the endpoint is none.
    """
    pair = new_pair()
    try:
        return ConnectionFile(
            endpoint=endpoint,
            server_key=server_key,
            role=role,
            name=name,
            public_key=pair.public,
            secret_key=SecretStr(pair.secret),
        )
    except ValidationError as error:
        problems = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise DistilmqUserError(f"No connection file can be made of this: {problems}") from None


def known_endpoint(store: KeyStore) -> str:
    """Where the broker of a store was reached last; empty when it has never been started, or its files are gone."""
    for role in _ROLES:
        path = store.folder / f"{role}.json"
        if path.exists():
            return read_connection(path).endpoint
    return ""


def reachable(endpoint: str, host: str = "") -> str:
    """The address of a broker for others: one that listens everywhere is reached under the name of its machine."""
    if host:
        return f"tcp://{host}:{endpoint.rpartition(':')[2]}"
    return _EVERYWHERE.sub(f"tcp://{socket.gethostname()}:", endpoint)


def _update(path: Path, endpoint: str, server_key: str) -> None:
    """Other keys and other addresses than those that it was made for, after a move or a change of keys."""
    try:
        found = read_connection(path)
    except DistilmqUserError:
        # It is the operator's to mend, and the message of whoever uses it says how.
        return
    if (found.endpoint, found.server_key) != (endpoint, server_key):
        write_connection(path, found.model_copy(update={"endpoint": endpoint, "server_key": server_key}))
