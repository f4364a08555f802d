"""Each command of the page about the broker is run: it starts as the page says, and is asked about a run it has."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from distilmq.cli.app import make_app
from distilmq.distiset import Distiset
from distilmq.pipeline import Pipeline
from distilmq.protocol.plan import Plan
from distilmq.steps import KeepColumns, LoadDataFromDicts
from distilmq_broker.front.cli import app as broker_app
from tests.broker.front.brokers import BrokerClient, Program, broker_in, start_command, worker_of
from tests.broker.recorded import rows_of
from tests.broker.serving import chain
from tests.docs.pages import ROOT, read_page
from tests.integration.hosts import hosts_of
from tests.waiting import PATIENCE, until

PAGE = "docs/how-to/broker.md"
PIPELINE = "my-pipeline"
RUN = "my-run"


def commands(name: str) -> list[list[str]]:
    """The commands of a block of the page, as words."""
    lines = read_page(PAGE).named("commands", name).code.splitlines()
    return [shlex.split(line.removeprefix("$ ").partition(" <")[0]) for line in lines]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", tcp=True) as started:
        yield started


def test_a_broker_starts_as_the_page_says(tmp_path: Path) -> None:
    ((_, _, _, *options),) = commands("starting")
    options[options.index("--bind") + 1] = "tcp://127.0.0.1:0"
    options[options.index("--dir") + 1] = str(tmp_path / "srv")
    process = subprocess.Popen(
        [*start_command(), *options], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert process.stdout is not None
    until(lambda: "listens at" in process.stdout.readline(), "it listens")  # type: ignore[union-attr]
    process.terminate()
    process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert "tcp://broker.example.org:" in (tmp_path / "srv" / "keys" / "worker.json").read_text()


def test_a_pipeline_is_handed_over_by_a_command_as_the_page_says(program: Program, tmp_path: Path) -> None:
    shutil.copy(program.folder / "keys" / "client.json", tmp_path)
    with Pipeline(PIPELINE) as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"a": n, "b": "x"} for n in range(5)])
        load >> KeepColumns(name="keep", columns=["a"])
    pipeline.save(tmp_path / "my-pipeline.yaml")
    (tmp_path / "my_script.py").write_text(
        f"from distilmq.pipeline import Pipeline\n\npipeline = Pipeline.from_dict({pipeline.dump()!r})\n"
    )
    with hosts_of(program, tmp_path) as hosts:
        hosts.start("h", "--slots", "2")
        done = [
            subprocess.run(
                [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
            )
            for words in commands("submitting")
        ]
    with BrokerClient(program) as client:
        runs = client.runs()

    assert [process.returncode for process in done] == [0, 0], done
    assert all("num_rows: 5" in process.stdout for process in done)
    assert [info.pipeline for info in runs.values()] == [PIPELINE, PIPELINE]


def test_a_run_is_looked_at_and_fetched_as_the_page_says(program: Program, tmp_path: Path) -> None:
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, _plan())
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0), last=True)
        until(lambda: client.runs()[RUN].state == "done", "it is done")

        said = [_distilmq(program, *words).output for words in commands("looking")]
        (fetch,) = commands("fetching")
        _distilmq(program, *fetch[:-1], str(tmp_path / fetch[-1]))

    listed, shown, sample, log = said
    assert RUN in listed
    assert "xxxx" not in shown
    assert "xxxx" in sample
    assert "run_ended" in log
    assert Distiset.load_from_disk(tmp_path / "my-dataset")["default"]["train"].num_rows == 5


def test_a_run_is_controlled_as_the_page_says(program: Program) -> None:
    expected = ["paused", "running", "stopped", "running", "stopped"]
    with BrokerClient(program) as client:
        client.start(RUN, _plan())
        *those_with_a_state, remove = commands("controlling")
        for words, state in zip(those_with_a_state, expected, strict=True):
            _distilmq(program, *words)
            until(lambda state=state: client.runs()[RUN].state == state, f"it is {state}")
        _distilmq(program, *remove)

        assert client.runs() == {}


def test_secrets_are_kept_as_the_page_says(program: Program) -> None:
    said = [_distilmq(program, *words, text="sk-secret\n").output for words in commands("keeping")]

    assert said[1] == "OPENAI_API_KEY\n"
    assert not any("sk-secret" in text for text in said)


def test_the_page_names_every_option() -> None:
    start = typer.main.get_command(broker_app).commands["start"]  # type: ignore[attr-defined]
    shown = [option for option in start.params if not option.hidden]
    offered = {name for option in shown for name in option.opts if name.startswith("--")}
    named = set(re.findall(r"^\| `(--[a-z-]+)`", (ROOT / PAGE).read_text(), re.M))

    assert offered - {"--help"} == named


def _plan() -> Plan:
    return chain("load", stop_timeout=0.0).model_copy(update={"pipeline": PIPELINE})


def _distilmq(program: Program, *words: str, text: str = "") -> Result:
    connection = str(program.folder / "keys" / "client.json")
    done = CliRunner().invoke(
        make_app(),
        [*words[1:]],
        input=text,
        env={"DISTILMQ_CONNECTION": connection, "DISTILMQ_BROKER_DIR": str(program.folder), "COLUMNS": "200"},
    )
    assert done.exit_code == 0, done.output
    return done
