"""`distilmq keys`: who may speak to a broker."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer

from distilmq.transport.connection_file import write_connection
from distilmq.utils.mistakes import fail, told
from distilmq_broker.front.settings import broker_folder
from distilmq_broker.keys.handing_out import draft_connection, hand_out, known_endpoint
from distilmq_broker.keys.store import KeyStore

app = typer.Typer(no_args_is_help=True, help="Say who may speak to a broker.")


class Role(StrEnum):
    """What a key is for."""

    client = "client"
    worker = "worker"


RoleArgument = Annotated[Role, typer.Argument(help="What the key is for: to submit and read runs, or to compute.")]
Name = Annotated[str, typer.Argument(help="A name for the key, such as that of its machine.")]
Dir = Annotated[
    Optional[str],  # noqa: UP045  # typer reads the annotation
    typer.Option("--dir", help="The broker's directory; else DISTILMQ_BROKER_DIR, else that of `broker start`."),
]


@app.command()
def new(
    role: RoleArgument,
    name: Name,
    out: Annotated[
        Optional[Path],  # noqa: UP045  # ditto
        typer.Option("--out", help="The connection file to write; NAME.json here if it is not told."),
    ] = None,
    endpoint: Annotated[
        str, typer.Option("--endpoint", help="tcp://HOST:PORT of the broker, where its own files do not tell it.")
    ] = "",
    server_key: Annotated[
        str,
        typer.Option("--server-key", help="Of a broker on another machine: its public key, as `keys list` shows it."),
    ] = "",
    directory: Dir = None,
) -> None:
    """Make a key, let it in, and write its connection file, which nobody else may read.

    With --server-key the broker is not here: the key is made, and has to be added there.
    """
    path = out or Path(f"{name}.json")
    if path.exists():
        fail(f"{path} is there already: remove it, or give another file with --out.")
    with told():
        if server_key:
            if not endpoint:
                fail("Say with --endpoint where the broker listens.")
            connection = draft_connection(server_key, role.value, name, endpoint)
            write_connection(path, connection)
            print(f"Wrote {path}. Let its key in where the broker is:")
            print(f"  distilmq keys add {role.value} {name} -- '{connection.public_key}'")
            return
        store = KeyStore(broker_folder(directory, os.environ))
        reached = endpoint or known_endpoint(store)
        if not reached:
            fail("Say with --endpoint where the broker listens: it was never started, or its own files are gone.")
        hand_out(store, role.value, name, reached, path)
    print(f"Wrote {path}. Its key may come in from now on.")


@app.command()
def add(
    role: RoleArgument,
    name: Name,
    public_key: Annotated[str, typer.Argument(help="As `keys new --server-key` printed it.")],
    directory: Dir = None,
) -> None:
    """Let a key in that was made elsewhere, so that its secret half never travels."""
    with told():
        KeyStore(broker_folder(directory, os.environ)).add(role.value, name, public_key)
    print(f"The key of {name} may come in from now on.")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The name of the key, or the public key itself.")], directory: Dir = None
) -> None:
    """Let a key in no more; a broker that is at work cuts its holders off within a second or two."""
    with told():
        revoked = KeyStore(broker_folder(directory, os.environ)).revoke(name)
    print(f"The key of {revoked.name} is not let in any more.")


@app.command("list")
def list_keys(
    directory: Dir = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List the keys: the broker's public one, and those that were ever let in."""
    with told():
        store = KeyStore(broker_folder(directory, os.environ))
        if not store.folder.exists():
            fail(f"There are no keys in {store.folder}: start the broker, or say with --dir where it keeps them.")
        server, entries = store.server().public, store.entries()
    if as_json:
        print(json.dumps({"role": "broker", "name": "", "public_key": server, "added": "", "revoked": ""}))
        for entry in entries:
            print(json.dumps(entry.model_dump()))
        return
    print(f"{'broker':8}{'':24}{server}")
    for entry in entries:
        state = f"  revoked {entry.revoked}" if entry.revoked else ""
        print(f"{entry.role:8}{entry.name:24}{entry.public_key}{state}")
