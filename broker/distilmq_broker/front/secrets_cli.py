"""`distilmq broker secrets`: what the broker keeps for the steps of all runs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Optional

import typer

from distilmq.utils.mistakes import fail, told
from distilmq_broker.front.folder import BrokerFolder
from distilmq_broker.front.secret_store import SecretStore
from distilmq_broker.front.settings import broker_folder

app = typer.Typer(
    no_args_is_help=True, help="Keep keys of providers at the broker, so that runs go on without their script."
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Name = Annotated[str, typer.Argument(help="Of the environment variable, such as OPENAI_API_KEY.")]
Dir = Annotated[
    Optional[str],  # noqa: UP045  # typer reads the annotation
    typer.Option("--dir", help="The broker's folder; else DISTILMQ_BROKER_DIR, else that of `broker start`."),
]


@app.command("set")
def keep(name: Name, folder: Dir = None) -> None:
    """Keep a value, which is read from the standard input, so that no shell remembers it."""
    if not _NAME.fullmatch(name):
        fail(f"{name!r} is no name of an environment variable.")
    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    if not value:
        fail("There is no value on the standard input.")
    with _store(folder) as store:
        store.keep(name, value)
    print(f"{name} is kept: workers whose own environment lacks it get it with the steps that need it.")


@app.command("list")
def list_names(folder: Dir = None) -> None:
    """List the names, not the values."""
    with _store(folder) as store:
        for name in sorted(store.all()):
            print(name)


@app.command()
def rm(name: Name, folder: Dir = None) -> None:
    """Keep a value no longer; processes that have it keep it until they end."""
    with _store(folder) as store:
        if name not in store.all():
            fail(f"{name} is not kept.")
        store.keep(name, None)


@contextmanager
def _store(folder: str | None) -> Generator[SecretStore]:
    with told():
        place = BrokerFolder(broker_folder(folder, os.environ))
        place.make()
        yield SecretStore(place.secrets_file)
