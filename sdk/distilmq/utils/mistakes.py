"""How a mistake ends a command: its message on the standard error, and the exit code 1."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

import typer

from distilmq.errors import DistilmqUserError


def fail(message: str) -> NoReturn:
    """Says why, and ends the command."""
    print(message, file=sys.stderr)
    raise typer.Exit(1)


@contextmanager
def told(*more: type[Exception]) -> Generator[None]:
    """Ends the command with the message of a user's mistake, or of an error of further classes, and no traceback."""
    try:
        yield
    except (DistilmqUserError, *more) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
