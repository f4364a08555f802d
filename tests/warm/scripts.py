"""Starts a script as a process of its own: from a warm Python where one suits, afresh where none does."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

from tests.warm.python import Files, WarmPython, WarmScript

Started = subprocess.Popen[str] | WarmScript
"""A script that was started."""


def start_script(
    path: Path,
    environment: Mapping[str, str],
    files: Files,
    *,
    cwd: Path | None = None,
    on_terminal: bool = False,
    afresh: bool = False,
) -> Started:
    """Starts a script in a session of its own.

    Args:
        path: its file.
        environment: all of it.
        files: where it reads and writes.
        cwd: its working directory; ours where none is given.
        on_terminal: whether its standard input is a terminal, which becomes the one that controls it.
        afresh: whether it must load all libraries itself, and have a hash seed of its own.
    """
    if not afresh and (warm := WarmPython.suiting(environment)):
        return warm.start(path, environment, files, cwd=cwd or Path.cwd(), on_terminal=on_terminal)
    return subprocess.Popen(
        [sys.executable, str(path)],
        cwd=cwd,
        env=environment,
        stdin=files.stdin,
        stdout=files.stdout,
        stderr=files.stderr,
        text=True,
        start_new_session=not on_terminal,
        preexec_fn=_own_terminal if on_terminal else None,
    )


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
