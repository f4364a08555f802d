"""The way from one machine to several, gone as the page says: a broker, two workers, and a laptop that submits.

All of them are on this machine; `tests/integration/test_over_networks.py` has them on several.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from distilmq.distiset import Distiset
from tests.docs.pages import read_page
from tests.integration.hosts import until

PAGE = read_page("docs/how-to/many-machines.md")
LISTEN = "tcp://0.0.0.0:5555"


@pytest.mark.timeout(300)  # seven programs that start one after the other
def test_the_page_leads_from_one_machine_to_several(tmp_path: Path) -> None:
    broker_dir = tmp_path / "broker"
    places = {name: tmp_path / name for name in ("gpu-1", "gpu-2", "laptop")}
    for place in places.values():
        place.mkdir()
    (start,), (work,), laptop = commands("broker"), commands("workers"), commands("laptop")
    start[start.index(LISTEN)] = "tcp://127.0.0.1:0"
    start[start.index("broker.example.org")] = "127.0.0.1"
    start[start.index("~/distilmq-broker")] = str(broker_dir)
    (example,) = PAGE.of_kind("example")
    (places["laptop"] / "my_script.py").write_text(PAGE.script(example))

    with ExitStack() as stack:
        broker = started(stack, start, tmp_path)
        assert broker.stdout is not None
        until(lambda: re.search("listens at", broker.stdout.readline()))  # type: ignore[union-attr]
        for name, place in places.items():
            shutil.copy2(broker_dir / "keys" / ("client.json" if name == "laptop" else "worker.json"), place)
        workers = [started(stack, work, places[name]) for name in ("gpu-1", "gpu-2")]
        until(lambda: (broker_dir / "broker.log").read_text().count('"host_joined"') == 2)
        said = [
            subprocess.run(words, cwd=places["laptop"], env=environment(), capture_output=True, text=True, check=False)
            for words in laptop
        ]
        for process in [*workers, broker]:
            process.terminate()
            process.communicate(timeout=60)

    assert [one.returncode for one in said] == [0, 0, 0, 0], said
    assert "num_rows: 100" in said[0].stdout
    assert said[1].stdout.splitlines()[1].split()[1:4] == ["lengths", "done", "100"]
    assert "measured: done, 10/10 batches" in said[2].stdout
    dataset = Distiset.load_from_disk(places["laptop"] / "lengths")["default"]["train"]
    assert list(dataset["length"]) == [5 * n for n in range(100)]
    assert [process.returncode for process in [*workers, broker]] == [0, 0, 0]


def commands(name: str) -> list[list[str]]:
    """The commands of a block, as words."""
    return [shlex.split(line.removeprefix("$ ")) for line in PAGE.named("commands", name).code.splitlines()]


def started(stack: ExitStack, words: list[str], folder: Path) -> subprocess.Popen[str]:
    """A program that serves until it is ended, at the latest with the stack."""
    process = subprocess.Popen(words, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def environment() -> dict[str, str]:
    """Where `distilmq` is found."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
