"""`distilmq broker`: the service that runs pipelines for others."""

from __future__ import annotations

import os
from typing import Annotated, Optional

import typer

from distilmq.utils.mistakes import fail, told
from distilmq.utils.option_values import seconds
from distilmq_broker.front.secrets_cli import app as secrets
from distilmq_broker.front.settings import DEFAULT_ENDPOINT, FrontSettings, broker_folder

app = typer.Typer(no_args_is_help=True, help="Run pipelines that are submitted, on workers of many machines.")

app.add_typer(secrets, name="secrets")


@app.callback()
def _broker() -> None:  # pyright: ignore[reportUnusedFunction]  # with it, one command alone keeps its name
    """Run pipelines that are submitted, on workers of many machines."""


@app.command()
def start(
    bind: Annotated[str, typer.Option(help="Where to listen, such as tcp://0.0.0.0:5555.")] = DEFAULT_ENDPOINT,
    host: Annotated[
        str, typer.Option(help="The name or address by which others reach this machine; else the machine's own name.")
    ] = "",
    folder: Annotated[
        Optional[str],  # noqa: UP045  # typer reads the annotation
        typer.Option("--dir", help="Where runs are kept; else DISTILMQ_BROKER_DIR, else the user's data folder."),
    ] = None,
    liveness: Annotated[
        str, typer.Option(help="How long nothing is heard of a worker before it counts as lost, such as 15 or 1m.")
    ] = "15",
    tied: Annotated[bool, typer.Option("--tied", hidden=True, help="End when the standard input does.")] = False,
) -> None:
    """Start the broker: it serves until it is ended, and runs that are not over go on when it is started again.

    The first start makes keys, and two connection files in the folder: `keys/client.json` for those who submit runs,
    `keys/worker.json` for the machines that compute them.
    """
    # Here, not above: other commands need none of it.
    from distilmq_broker.front.process import run_broker

    with told():
        if (silence := seconds(liveness, "--liveness")) < 1.0:
            fail(f"--liveness is a second at least, not {liveness}.")
        run_broker(FrontSettings(broker_folder(folder, os.environ), bind, host, silence, tied))
