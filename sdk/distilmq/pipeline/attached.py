"""Asking about a run, whether its coordinator is at work or it is over."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from distilmq.errors import RunError
from distilmq.pipeline.client import Client
from distilmq.pipeline.followers import Quiet
from distilmq.pipeline.run import Place, connect, reopened

T = TypeVar("T")


def ask(directory: Path, read: Callable[[Client], T]) -> T:
    """Asks the coordinator of a run: the one that is at work, or one that starts nothing."""
    if living(directory) is not None:
        return attached(directory, read)
    return reopened(Place(directory, directory.parent.parent), read)


def attached(directory: Path, read: Callable[[Client], T]) -> T:
    """Speaks to the coordinator that is at work on a run, and leaves it at work.

    Raises:
        RunError: there is none, or it cannot be reached.
    """
    holder = living(directory)
    if holder is None:
        raise RunError(f"Nobody is at work on the run in {directory}: run its script again to go on.")
    client = Client(connect(holder.get("endpoint", "")), session=secrets.token_hex(8), follower=Quiet(), trusted=True)
    try:
        client.open()
        return read(client)
    finally:
        client.leave()


def living(directory: Path) -> dict[str, Any] | None:
    """What the coordinator that has a run says about itself; None when none has it."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return dict(json.loads(os.pread(descriptor, 4096, 0) or b"{}"))
    finally:
        os.close(descriptor)
    return None
