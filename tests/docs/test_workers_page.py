"""Each command of the page about workers is started against a real broker on a port, joins it, and leaves in order."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.front.brokers import Program, broker_in
from tests.docs.pages import ROOT, read_page
from tests.waiting import PATIENCE, until

PAGE = "docs/how-to/workers.md"
COMMANDS = [
    line.removeprefix("$ ") for block in read_page(PAGE).of_kind("commands") for line in block.code.splitlines()
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with broker_in(tmp_path_factory.mktemp("page") / "broker", tcp=True) as started:
        yield started


@pytest.mark.parametrize("command", COMMANDS)
def test_a_worker_that_is_started_as_the_page_says_joins_and_leaves(
    program: Program, tmp_path: Path, command: str
) -> None:
    shutil.copy(program.folder / "keys" / "worker.json", tmp_path)
    joined, left = program.log.count("host_joined"), program.log.count("host_left")
    worker = subprocess.Popen(
        ["bash", "-c", f"exec {command}"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: program.log.count("host_joined") > joined or worker.poll() is not None)
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=PATIENCE)
    finally:
        worker.kill()

    assert worker.returncode == 0, said
    assert "asked to leave" in said
    until(lambda: program.log.count("host_left") > left)


def test_the_page_names_every_option() -> None:
    helped = subprocess.run(
        [str(Path(sys.executable).parent / "distilmq"), "worker", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout

    offered = set(re.findall(r"^\W+(--[a-z-]+)", helped, re.M)) - {"--help"}
    named = set(re.findall(r"^\| `(--[a-z-]+)`", (ROOT / PAGE).read_text(), re.M))

    assert offered == named
