"""The coordinator process of a local run: started by command line, tied to this process by its stdin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from distilmq.errors import CoordinatorLostError, RunError
from distilmq.pipeline.socket_folder import SocketFolder
from distilmq.utils.not_yet import window

# distilabel's path of the class.
__getattr__, _ = window(__name__, {"Pipeline": "distilmq.pipeline.pipeline"})

_TAIL = 4000
"""Bytes of the coordinator's last words that an error shows."""
_REFUSALS = (2, 3, 4)
"""Exit codes of a coordinator that says why it cannot begin: bad settings, another one has the run, the journal."""


class LocalCoordinator:
    """A coordinator of our own.

    It runs in a session of its own, so that the terminal's Ctrl+C does not reach it; when this process dies,
    however it dies, its end of the pipe closes and the coordinator stops the run and leaves.

    Args:
        directory: of the run.
        cache_dir: where signatures of other runs are found; of a dry run nothing others read.
    """

    def __init__(self, directory: Path, cache_dir: Path) -> None:
        self.directory = directory
        self._folder = SocketFolder()
        self.endpoint = self._folder.endpoint
        try:
            self._process = subprocess.Popen(
                _command(directory, self.endpoint, cache_dir),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._folder.errors,
                start_new_session=True,
            )
        except OSError:
            self._folder.remove()
            raise

    @property
    def pid(self) -> int:
        """Of the coordinator process."""
        return self._process.pid

    def check(self) -> None:
        """Raises when the coordinator has died.

        Raises:
            CoordinatorLostError: with the last lines it wrote.
            RunError: it could not begin; the message says why and what to do.
        """
        code = self._process.poll()
        if code is None:
            return
        said = self.last_words()
        if code in _REFUSALS:
            raise RunError(f"The run cannot go on: {said}.")
        raise CoordinatorLostError(
            f"The coordinator of the run died ({_how(code)}). What was recorded is safe in {self.directory}:"
            " run the script again to go on from there." + (f"\nIts last lines:\n{said}" if said else "")
        )

    def last_words(self) -> str:
        """The end of what the coordinator wrote to its standard error."""
        return self._folder.last_words(_TAIL)

    def kill(self) -> None:
        """Ends it now; its workers die with it."""
        if self._process.poll() is None:
            self._process.kill()

    def hang_up(self) -> None:
        """Lets it go: it leaves by itself."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def ended(self, seconds: float) -> bool:
        """Waits for at most so long for its end; says whether it has come."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self, *, patience: float = 0.0) -> None:
        """Hangs up, and kills it when it has not left after `patience` seconds."""
        try:
            self.hang_up()
            if not self.ended(patience):
                self._process.kill()
                self._process.wait()
        finally:
            self._folder.remove()


def _command(directory: Path, endpoint: str, cache_dir: Path) -> Sequence[str]:
    # -P: a queue.py in the folder where the script was started must not stand in for the library's.
    program = [sys.executable, "-P", "-m", "distilmq_broker", "run"]
    return [*program, "--dir", str(directory), "--endpoint", endpoint, "--cache-dir", str(cache_dir)]


def _how(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"exit code {code}"


def free_run_dir(pipeline_dir: Path, run_id: str, *, first: int = 1) -> Path:
    """Makes a run directory that no run has used: `<run id>`, or with the next number behind it, from `first` on."""
    pipeline_dir.mkdir(parents=True, exist_ok=True)
    for number in range(first, sys.maxsize):
        directory = pipeline_dir / (run_id if number == 1 else f"{run_id}-{number}")
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return directory
    raise AssertionError("there is always a free number")


def latest_run_dir(pipeline_dir: Path, run_id: str) -> Path:
    """The newest run directory of a plan, made when there is none."""
    used = [
        directory
        for directory in (pipeline_dir.iterdir() if pipeline_dir.is_dir() else ())
        if directory.name == run_id or directory.name.rpartition("-")[0] == run_id
    ]
    if not used:
        return free_run_dir(pipeline_dir, run_id)
    return max(used, key=_run_number)


def _run_number(directory: Path) -> int:
    number = directory.name.rpartition("-")[2]
    return int(number) if "-" in directory.name and number.isdecimal() else 1
