"""Workers on machines that are reached over SSH; they go on when the connection ends."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from distilmq.errors import DistilmqUserError
from distilmq_broker.launchers.worker_command import WorkerCommand

KEY_FILE = "worker.json"
"""In `~/.distilmq` of the machine, with `worker.log` and `worker.pid`."""
TAKEN = "a worker runs there already"
"""What is said of a machine on which none can be started."""

_IN_FOLDER = ["set -eu", "umask 077", 'mkdir -p "$HOME/.distilmq"', 'cd "$HOME/.distilmq"']
_RUNNING = 'ps -ww -o args= -p "$(cat worker.pid 2> /dev/null || echo 0)" 2> /dev/null | grep -q "worker --connect"'
"""Whether it is a worker still: the number may be another process's by now. `-ww`: whole, whatever COLUMNS says."""


def _fail(message: str) -> str:
    return f'{{ echo "{message}" >&2; exit 1; }}'


_NO_PROGRAM = _fail("distilmq is not there: install it, or say with --program where it is")


def start_script(command: WorkerCommand, name: str = "") -> str:
    """What the machine's shell is given to start a worker; the connection file comes over the standard input.

    Args:
        command: of the worker.
        name: of the worker; it makes one of its machine and process when it is empty.
    """
    argv = [*command.argv(), *(["--name", name] if name else [])]
    return "\n".join(
        [
            *_IN_FOLDER,
            f"if {_RUNNING}; then {_fail(f'{TAKEN}, and --stop ends it')}; fi",
            f"command -v {shlex.quote(command.program)} > /dev/null || {_NO_PROGRAM}",
            f"cat > {KEY_FILE}",
            f"nohup {shlex.join(argv)} >> worker.log 2>&1 < /dev/null &",
            "echo $! > worker.pid",
        ]
    )


def stop_script() -> str:
    """What the machine's shell is given to let its worker finish what is in hand and leave."""
    return "\n".join(
        [
            *_IN_FOLDER,
            f"if ! {_RUNNING}; then {_fail('no worker runs there that was started so')}; fi",
            'kill -TERM "$(cat worker.pid)"',
        ]
    )


def ssh_argv(ssh: str, host: str, script: str) -> list[str]:
    """The command that has a machine run a script.

    Args:
        ssh: how SSH is called, with options of its own.
        host: as SSH knows it.
        script: of the machine's login shell.

    Raises:
        DistilmqUserError: the call of SSH cannot be read.
    """
    try:
        return [*shlex.split(ssh), "--", host, script]
    except ValueError as error:
        raise DistilmqUserError(f"--ssh {ssh!r} is no command: {error}") from error


def run_over_ssh(argv: Sequence[str], given: Path | None) -> str:
    """Runs the command; what went wrong, or nothing.

    Args:
        argv: of `ssh_argv`.
        given: a file for its standard input.

    Raises:
        DistilmqUserError: there is no such program here.
    """
    try:
        with Path(given or "/dev/null").open("rb") as file:
            done = subprocess.run(argv, stdin=file, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise DistilmqUserError(f"There is no {error.filename} here: install it, or give another by --ssh") from error
    return "" if done.returncode == 0 else done.stderr.strip() or f"{argv[0]} ended with {done.returncode}"
