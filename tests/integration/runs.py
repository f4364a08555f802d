"""User scripts as real processes: started, watched, killed, and read afterwards."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import psutil

from tests.waiting import until as until
from tests.warm.python import Files
from tests.warm.scripts import Started, start_script

PROLOGUE = """
import json, os, sys, time
from pathlib import Path
from distilmq.pipeline import Pipeline, routing_batch_function, sample_n_steps
from distilmq.steps import (
    GeneratorStep, GlobalStep, GroupColumns, KeepColumns, LoadDataFromDicts, Step, StepInput, StepResources, step,
)

HERE = Path(os.environ["SCRIPT_DIR"])

def mark(name, rows):
    "Says in a file, one atomic line, that a step worked on these rows."
    line = json.dumps({"step": name, "rows": [row["n"] for row in rows], "pid": os.getpid()}) + "\\n"
    fd = os.open(HERE / "worked.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)

def wait_for(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not (HERE / path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.005)
"""

EPILOGUE = """
def dump(distiset):
    rows = {name: [dict(row) for row in subset["train"]] for name, subset in distiset.items()}
    (HERE / "rows.json").write_text(json.dumps(rows, default=str))
"""


@dataclass
class Script:
    """A script in its own folder, with its own cache; run it as often as you like."""

    folder: Path
    code: str
    env: dict[str, str] = field(default_factory=dict)
    afresh: bool = False
    """Whether it loads all libraries itself, and has a hash seed of its own."""
    process: Started | None = field(default=None, init=False)
    """As it was last started."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "script.py"
        self.path.write_text(PROLOGUE + EPILOGUE + dedent(self.code))
        self.cache = self.folder / "cache"

    def start(self, *, env: Mapping[str, str] | None = None, terminal: int | None = None) -> Started:
        """Starts the script in a session of its own.

        Args:
            env: more of its environment.
            terminal: that it is on; its output goes to `output.txt` in its folder where there is none.
        """
        environment = {
            **os.environ,
            "SCRIPT_DIR": str(self.folder),
            "DISTILMQ_CACHE_DIR": str(self.cache),
            **self.env,
            **(env or {}),
        }
        with (self.folder / "output.txt").open("a") as output:
            files = Files(0, output.fileno(), output.fileno()) if terminal is None else Files(*[terminal] * 3)
            self.process = start_script(
                self.path, environment, files, on_terminal=terminal is not None, afresh=self.afresh
            )
        return self.process

    def run(self, *, timeout: float = 90, env: dict[str, str] | None = None) -> int:
        """Runs the script to its end and returns its exit code."""
        process = self.start(env=env)
        try:
            return process.wait(timeout)
        finally:
            if process.poll() is None:
                kill_tree(process.pid)
                process.wait()

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text()

    @property
    def rows(self) -> dict[str, list[dict[str, object]]]:
        """What `dump(distiset)` wrote."""
        return json.loads((self.folder / "rows.json").read_text())

    @property
    def worked(self) -> list[dict[str, object]]:
        """What `mark` wrote, in order."""
        path = self.folder / "worked.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    @property
    def run_dirs(self) -> list[Path]:
        return sorted(path.parent for path in self.cache.glob("*/*/ledger.db"))

    def answers(self) -> int:
        """How many answers of models wait in the ledger for their batch."""
        with closing(
            sqlite3.connect(f"file:{self.run_dirs[-1] / 'ledger.db'}?mode=ro", uri=True, timeout=10)
        ) as ledger:
            return int(ledger.execute("SELECT count(*) FROM answer").fetchone()[0])

    def recorded(self, run_dir: Path | None = None) -> list[tuple[str, str, int]]:
        """Step, number and part of the batches in the ledger."""
        directory = run_dir or self.run_dirs[-1]
        ledger = sqlite3.connect(f"file:{directory / 'ledger.db'}?mode=ro", uri=True, timeout=10)
        try:
            query = "SELECT step, seq_no, part FROM batch WHERE state = 1"
            return [(str(step), str(number), int(part)) for step, number, part in ledger.execute(query)]
        finally:
            ledger.close()


def family(pid: int) -> list[psutil.Process]:
    """A process's living descendants."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kind(process: psutil.Process) -> str:
    """`coordinator`, `supervisor`, `worker`, `router` or the command line."""
    try:
        line = " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return "gone"
    for module, name in (
        ("distilmq_broker.adapters.routing_child", "router"),
        ("distilmq_broker", "coordinator"),
        ("distilmq_workers.process", "worker"),
        ("distilmq_workers", "supervisor"),
    ):
        if module in line:
            return name
    return line


def of_kind(pid: int, name: str) -> list[psutil.Process]:
    return [process for process in family(pid) if kind(process) == name]


def kill_tree(pid: int) -> None:
    """SIGKILL to a process and all below it, at once."""
    for process in [*family(pid), psutil.Process(pid)] if psutil.pid_exists(pid) else []:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def all_gone(processes: list[psutil.Process]) -> bool:
    """Whether none of the processes lives (a zombie does not)."""
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            continue
    return True
