"""Runs the command of a launcher: sbatch, squeue, kubectl."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

_PATIENCE = 60.0
"""Seconds that a command may take."""


class CommandError(Exception):
    """It did not do what it was asked to; the message says why."""


def run(argv: Sequence[str], given: str = "") -> str:
    """What it prints.

    Args:
        argv: its words.
        given: its standard input.

    Raises:
        CommandError: it is not there, failed, or did not end.
    """
    try:
        done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except OSError as error:
        raise CommandError(f"{argv[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{argv[0]} did not answer within {_PATIENCE:.0f} s") from error
    if done.returncode:
        raise CommandError(done.stderr.strip() or f"{argv[0]} ended with {done.returncode}")
    return done.stdout
