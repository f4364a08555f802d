"""Runs the blocks of a page as a reader would: each a file in an empty folder, started with Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import Block, Page

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
    script = folder / "script.py"
    script.write_text(code)
    return _run([sys.executable, str(script)], folder, env)


def run_command(line: str, folder: Path, env: Mapping[str, str]) -> Ran:
    """Runs a line of a console block in a shell that finds the programs of this environment first."""
    return _run(["bash", "-euo", "pipefail", "-c", line], folder, env)


def expected_output(page: Page, block: Block) -> str | None:
    """What the page says that a block prints: the `output` block that comes next."""
    place = page.blocks.index(block)
    follower = page.blocks[place + 1] if place + 1 < len(page.blocks) else None
    return follower.code if follower is not None and follower.kind == "output" else None


@contextmanager
def running_script(code: str, folder: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A script at work; it is ended, with all below it, when the block is left before it has ended."""
    script = folder / "script.py"
    script.write_text(code)
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(script)],
            cwd=folder,
            env=_environment(folder, env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


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
