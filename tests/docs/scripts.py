"""Runs the blocks of a page as a reader would: each a file in an empty folder, started with Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tests.docs.pages import Block, Page
from tests.warm.python import Files
from tests.warm.scripts import Started, start_script

TIMEOUT = 100.0
"""Seconds a block may take."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a script ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything it wrote, to be shown when a test fails."""
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def run_script(code: str, folder: Path, env: Mapping[str, str]) -> Ran:
    """Runs code as a script in a folder; its cache of pipelines is there too."""
    with TemporaryFile() as out, TemporaryFile() as err:
        with _started(code, folder, env, out, err) as process:
            process.wait(TIMEOUT)
        return Ran(process.wait(), _written(out), _written(err))


def run_command(line: str, folder: Path, env: Mapping[str, str]) -> Ran:
    """Runs a line of a console block in a shell that finds the programs of this environment first."""
    return _run(["bash", "-euo", "pipefail", "-c", line], folder, env)


def expected_output(page: Page, block: Block) -> str | None:
    """What the page says that a block prints: the `output` block that comes next."""
    place = page.blocks.index(block)
    follower = page.blocks[place + 1] if place + 1 < len(page.blocks) else None
    return follower.code if follower is not None and follower.kind == "output" else None


@contextmanager
def running_script(code: str, folder: Path, env: Mapping[str, str]) -> Iterator[Started]:
    """A script at work; it is ended, with all below it, when the block is left before it has ended."""
    with (folder / "output.txt").open("w") as output, _started(code, folder, env, output, output) as process:
        yield process


@contextmanager
def _started(code: str, folder: Path, env: Mapping[str, str], out: IO[Any], err: IO[Any]) -> Iterator[Started]:
    script = folder / "script.py"
    script.write_text(code)
    with open(os.devnull) as nothing:
        files = Files(nothing.fileno(), out.fileno(), err.fileno())
        process = start_script(script, _environment(folder, env), files, cwd=folder)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _written(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _environment(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DISTILMQ_CACHE_DIR": str(folder / "cache"),
        "COLUMNS": "200",
        **env,
    }


def _run(command: list[str], folder: Path, env: Mapping[str, str]) -> Ran:
    done = subprocess.run(
        command,
        cwd=folder,
        env=_environment(folder, env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
