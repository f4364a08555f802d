"""`distilmq pipeline run --broker` as it is typed: a script or a saved pipeline, on hosts that have nothing of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.distiset import Distiset
from distilmq.pipeline import Pipeline
from distilmq.protocol.messages.runs import RunInfo
from distilmq.steps import KeepColumns, LoadDataFromDicts
from tests.broker.front.brokers import BrokerClient, Program, broker_in
from tests.integration.hosts import Hosts, hosts_of, until

SCRIPT = """
from pathlib import Path

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.pipeline import Pipeline
from distilmq.protocol.messages.runs import RunInfo
from distilmq.steps import LoadDataFromDicts, StepInput, step
from words_of_mine import twice

@step(inputs=["n"], outputs=["times"])
def times(rows: StepInput, plus: RuntimeParameter[int] = 0, gate: RuntimeParameter[str] = ""):
    import time

    while gate and not Path(gate).exists():
        time.sleep(0.01)
    yield [{**row, "times": twice(row["n"]) + plus} for row in rows]

with Pipeline("typed") as flow:
    LoadDataFromDicts(data=[{"n": n} for n in range(20)], batch_size=5) >> times(name="times", input_batch_size=5)
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", tcp=True) as started:
        yield started


@pytest.fixture
def hosts(program: Program, tmp_path: Path) -> Iterator[Hosts]:
    with hosts_of(program, tmp_path) as started:
        started.start("h", "--slots", "2")
        yield started


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    """The options that name it."""
    folder = tmp_path / "script"
    folder.mkdir()
    (folder / "flow.py").write_text(SCRIPT)
    (folder / "words_of_mine.py").write_text("def twice(n):\n    return 2 * n\n")
    return ["--script", str(folder / "flow.py"), "--pipeline-variable-name", "flow"]


@pytest.mark.usefixtures("hosts")
def test_a_second_call_follows_the_run_that_the_first_began(
    program: Program, script: list[str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    arguments = [*script, "--param", "times.plus=100", "--param", f"times.gate={gate}"]
    first = typed(program, *arguments)
    until(lambda: [info.state for info in runs(program).values()] == ["running"])
    until(lambda: sum(info.processes for info in runs(program).values()))
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)

    second = typed(program, *arguments)
    assert second.stderr is not None
    begun = next(line for line in second.stderr if "run '" in line)
    # Who comes when all is done has nothing to follow.
    assert any(line.startswith("times: ") for line in second.stderr)
    gate.touch()
    # Not by `communicate`, to which what was read ahead of these lines is lost.
    followed = second.stderr.read()
    out, _ = second.communicate(timeout=90)

    (run,) = runs(program)
    assert first.returncode == 130
    assert f"Run '{run}' goes on at the broker. Run it again to follow it" in said
    assert begun == f"Following run '{run}'.\n"
    assert "times: done, 4/4 batches" in followed
    assert second.returncode == 0, followed
    assert "num_rows: 20" in out
    assert [row["times"] for row in saved(program, run, tmp_path)] == [2 * n + 100 for n in range(20)]


@pytest.mark.usefixtures("hosts")
def test_another_run_is_begun_beside_one_that_is_unfinished(
    program: Program, script: list[str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    arguments = [*script, "--param", f"times.gate={gate}"]
    first = typed(program, *arguments)
    until(lambda: len(runs(program)) == 1)

    second = typed(program, *arguments, "--new")
    until(lambda: len(runs(program)) == 2)
    gate.touch()

    for process in (first, second):
        out, said = process.communicate(timeout=90)
        assert process.returncode == 0, said
        assert "num_rows: 20" in out


@pytest.mark.usefixtures("hosts")
def test_a_saved_pipeline_runs_at_a_broker_that_the_environment_names(program: Program, tmp_path: Path) -> None:
    with Pipeline("saved") as pipeline:
        LoadDataFromDicts(name="load", data=[{"a": n, "b": "x"} for n in range(5)]) >> KeepColumns(columns=["a"])
    pipeline.save(tmp_path / "pipeline.yaml")
    key = str(program.folder / "keys" / "client.json")

    process = typed(
        program, "--config", str(tmp_path / "pipeline.yaml"), broker=program.endpoint, DISTILMQ_CONNECTION=key
    )
    out, said = process.communicate(timeout=90)

    assert process.returncode == 0, said
    assert "num_rows: 5" in out


def typed(program: Program, *arguments: str, broker: str = "", **environment: str) -> subprocess.Popen[str]:
    """`distilmq pipeline run --broker …`."""
    target = broker or str(program.folder / "keys" / "client.json")
    return subprocess.Popen(
        [sys.executable, "-m", "distilmq", "pipeline", "run", "--broker", target, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


def runs(program: Program) -> dict[str, RunInfo]:
    """The runs of the broker."""
    with BrokerClient(program) as client:
        return client.runs()


def saved(program: Program, run: str, folder: Path) -> list[dict[str, object]]:
    """The rows that a run left."""
    distiset = Pipeline.attach(run, program.folder / "keys" / "client.json", cache_dir=folder / "cache").distiset()
    assert isinstance(distiset, Distiset)
    return [dict(row) for row in distiset["default"]["train"]]
