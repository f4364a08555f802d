"""`distilmq`: the commands of this package, and those that installed packages offer.

A package offers a command by an entry point of the group `distilmq.commands`: its name is the command, its
object a `typer.Typer` (a command with commands of its own) or a function (a command).
"""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer

from distilmq.cli.failures import app as failures
from distilmq.cli.pipeline import app as pipeline
from distilmq.cli.runs import app as runs

GROUP = "distilmq.commands"


def make_app() -> typer.Typer:
    """The application with everything that is offered."""
    app = typer.Typer(name="distilmq", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(_root)
    app.add_typer(pipeline, name="pipeline")
    app.add_typer(failures, name="failures")
    app.add_typer(runs, name="runs")
    for offer in metadata.entry_points(group=GROUP):
        _mount(app, offer)
    return app


def main() -> None:
    """Runs the command line."""
    make_app()()


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.", is_eager=True)] = False,
) -> None:
    """Makes training data with language models: runs pipelines, on one machine or many."""
    if version:
        print(metadata.version("distilmq"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def _mount(app: typer.Typer, offer: metadata.EntryPoint) -> None:
    try:
        command = offer.load()
    except ImportError as error:
        # One package that lacks a dependency must not take the other commands away.
        print(f"The command '{offer.name}' is not available: {error}", file=sys.stderr)
        return
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=offer.name)
    else:
        app.command(offer.name)(command)
