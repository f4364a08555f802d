"""What `distilmq launch` prints, and a run that launched workers compute."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from typer.testing import CliRunner

from distilmq.pipeline import Pipeline
from distilmq.steps import LoadDataFromDicts
from distilmq_broker.launchers.cli import app
from tests.broker.front.brokers import Program
from tests.integration import hosted_steps as samples
from tests.integration.hosts import PATIENCE, ROOT, fetched, outcome, plan_of, state_of, submit, until

BIN = Path(sys.executable).parent
ENVIRONMENT = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
"""Where `distilmq` is a command, and the steps of tests are installed."""


def launch(*words: str) -> str:
    """What it prints."""
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def worker_key(program: Program) -> str:
    """The connection file that a broker has made for workers."""
    return str(program.folder / "keys" / "worker.json")


@contextmanager
def started(
    commands: Sequence[Sequence[str]], output: Path, **environment: str
) -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that run until the block ends; what they say is shown when it fails."""
    with output.open("a+") as file:
        programs = [
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                text=True,
                env={**os.environ, **ENVIRONMENT, **environment},
                start_new_session=True,
            )
            for command in commands
        ]
        try:
            yield programs
        except BaseException:
            print(output.read_text())
            raise
        finally:
            for program in programs:
                with suppress(ProcessLookupError):
                    os.killpg(program.pid, signal.SIGKILL)
                program.wait()


def leave(programs: Sequence[subprocess.Popen[str]]) -> list[int]:
    """SIGTERM to each, as from who has started it; their exit codes."""
    for program in programs:
        program.send_signal(signal.SIGTERM)
    return [program.wait(PATIENCE) for program in programs]


def computed(program: Program) -> list[int]:
    """What comes of a run that doubles numbers; it needs a worker."""
    with Pipeline("doubling") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": number} for number in range(20)], batch_size=5)
        load >> samples.Double(name="double", input_batch_size=5)
    submit(program, "r", plan_of(pipeline))
    # Its workers may only be starting.
    until(lambda: state_of(program, "r").state != "running")
    assert outcome(program, "r").outcome == "done"
    return [row["doubled"] for row in fetched(program, "r", "double")]
