"""`distilmq runs` as a user types it, with a broker that has a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from distilmq.cli.run_text import described
from distilmq.cli.runs import app
from distilmq.distiset import Distiset
from distilmq.protocol.messages.client import Progress, StepProgress
from distilmq.protocol.messages.runs import RunInfo, RunShown
from tests.broker.front.brokers import BrokerClient, Program, broker_in, worker_of
from tests.broker.recorded import rows_of
from tests.broker.serving import Worker, chain
from tests.integration.runs import until
from tests.sdk.cli.test_command_line import distilmq

RUN = "run-1"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A broker on a port."""
    with broker_in(tmp_path / "broker", tcp=True) as started:
        yield started


@pytest.fixture
def worker(program: Program) -> Iterator[Worker]:
    """The worker of a run that was submitted."""
    with BrokerClient(program) as client, worker_of(program, RUN) as started:
        client.start(RUN, chain("load"))
        started.join()
        yield started


def test_a_run_is_listed_and_shown_without_the_text_of_its_rows(program: Program, worker: Worker) -> None:
    _end(program, worker)

    listed = _runs(program, "list").stdout.splitlines()
    shown = _runs(program, "show", RUN).stdout
    entries = json.loads(_runs(program, "list", "--json").stdout)

    assert listed[0].split() == ["RUN", "PIPELINE", "STATE", "ROWS", "PROCESSES", "AGE"]
    assert listed[1].split()[:5] == [RUN, "test", "done", "5", "0"]
    assert f"Run {RUN} of pipeline 'test': done" in shown
    assert "  load: done, 1/1 batches" in shown
    assert "xxxx" not in shown
    assert [(entry["run"], entry["state"], entry["rows"]) for entry in entries] == [(RUN, "done", 5)]


def test_the_text_of_rows_is_shown_when_it_is_asked_for(program: Program, worker: Worker) -> None:
    _end(program, worker)

    shown = _runs(program, "show", RUN, "--sample").stdout
    fields = json.loads(_runs(program, "show", RUN, "--sample", "--json").stdout)

    assert "The first rows of 'load':" in shown
    assert shown.count("xxxx") >= 3
    assert fields["sample"] == {"load": rows_of("load", 0)[:3]}
    assert "sample" not in json.loads(_runs(program, "show", RUN, "--json").stdout)


def test_a_run_is_named_by_its_pipeline_or_the_beginning_of_its_id(program: Program, worker: Worker) -> None:
    with BrokerClient(program) as client:
        client.start("other-2", chain("load"))

    assert f"Run {RUN} " in _runs(program, "show", "run").stdout
    assert "Run other-2 " in _runs(program, "show", "test").stdout
    wrong = _runs(program, "show", "nothing")

    assert wrong.exit_code == 1
    assert wrong.stderr == "'nothing' is not one run of the broker. There are: other-2, run-1.\n"


def test_a_run_is_stopped_gone_on_with_and_removed(program: Program, worker: Worker) -> None:
    early = _runs(program, "rm", RUN)
    stopped = _runs(program, "stop", RUN, "--timeout", "0")
    _until(program, "stopped")
    resumed = _runs(program, "resume", RUN)
    _until(program, "running")
    _runs(program, "pause", RUN)
    _until(program, "paused")
    _runs(program, "stop", RUN, "--now")
    _until(program, "stopped")
    _runs(program, "rm", RUN)

    assert early.exit_code == 1
    assert "stop it first: distilmq runs stop run-1" in early.stderr
    assert stopped.stdout == "Run run-1 is being stopped.\n"
    assert resumed.stdout == "Run run-1 goes on.\n"
    assert _runs(program, "list").stdout == "The broker has no runs.\n"


def test_a_run_that_was_stopped_says_what_it_did_not_finish_and_how_to_go_on(program: Program, worker: Worker) -> None:
    worker.batch()
    _runs(program, "stop", RUN, "--timeout", "1h")
    _until_shown(program, "stopping")
    listed = _runs(program, "list").stdout
    stopping = json.loads(_runs(program, "show", RUN, "--json").stdout)["info"]
    _runs(program, "stop", RUN, "--now")
    _until(program, "stopped")

    shown = _runs(program, "show", RUN).stdout

    assert listed.splitlines()[1].split()[2] == "stopping"
    assert (stopping["state"], stopping["stopping"]) == ("running", True)
    assert "  load: not finished, 0/" in shown
    assert shown.endswith("Go on with it: distilmq runs resume run-1\n")


def test_a_run_with_failed_rows_says_where_they_are_shown() -> None:
    step = StepProgress(step="ask", kind="normal", state="done", failed_rows=3)
    shown = RunShown(info=RunInfo(run="r", state="done"), progress=Progress(run="r", state="done", steps=(step,)))

    assert described(shown).splitlines()[-1] == (
        "The rows that failed, and why: distilmq failures list r --broker CONNECTION_FILE"
    )


def test_a_run_that_is_over_waits_for_nothing(program: Program) -> None:
    with BrokerClient(program) as client:
        client.start(RUN, chain("load"))
        until(lambda: client.shown(RUN).unmet, "it waits for a worker")
        waiting = _runs(program, "show", RUN).stdout
        client.control(RUN, "kill")
        until(lambda: client.runs()[RUN].state == "stopped", "it is stopped")

        assert "Waiting for workers:\n  load: no worker is there" in waiting
        assert client.shown(RUN).unmet == ()
        assert "Waiting" not in _runs(program, "show", RUN).stdout


def test_its_dataset_is_saved_in_a_folder(program: Program, worker: Worker, tmp_path: Path) -> None:
    _end(program, worker)

    fetched = _runs(program, "fetch", RUN, str(tmp_path / "below" / "dataset"))
    again = _runs(program, "fetch", RUN, str(tmp_path / "below" / "dataset"))

    rows = [dict(row) for row in Distiset.load_from_disk(tmp_path / "below" / "dataset")["default"]["train"]]
    assert fetched.exit_code == 0, fetched.stderr
    assert rows == rows_of("load", 0)
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["dataset"]
    assert (again.exit_code, again.stderr) == (
        1,
        f"{tmp_path}/below/dataset is there already: choose another folder.\n",
    )


def test_a_folder_that_cannot_be_written_in_is_named(program: Program, worker: Worker) -> None:
    fetched = _runs(program, "fetch", RUN, "/proc/dataset")

    assert fetched.exit_code == 1
    assert fetched.stderr.startswith("Nothing can be written in /proc: ")


def test_its_log_is_printed_and_followed_to_its_end(program: Program, worker: Worker) -> None:
    _end(program, worker)

    lines = [json.loads(line) for line in _runs(program, "logs", RUN, "--follow").stdout.splitlines()]

    events = [line["event"] for line in lines]
    assert events[0] == "coordinator_started"
    assert "run_ended" in events


def test_the_whole_command_without_a_key_says_what_is_missing() -> None:
    done = distilmq("runs", "list", "--broker", "tcp://127.0.0.1:1")

    assert done.returncode == 1
    assert "connection file" in done.stderr


def _runs(program: Program, *arguments: str) -> Result:
    broker = str(program.folder / "keys" / "client.json")
    return CliRunner().invoke(app, [*arguments], env={"DISTILMQ_CONNECTION": broker, "COLUMNS": "200"})


def _end(program: Program, worker: Worker) -> None:
    batch, _ = worker.batch()
    worker.give(batch.lease, rows_of("load", 0), last=True)
    _until(program, "done")


def _until_shown(program: Program, words: str) -> None:
    until(lambda: words in _runs(program, "show", RUN).stdout, f"it shows {words}")


def _until(program: Program, state: str) -> None:
    with BrokerClient(program) as client:
        until(lambda: client.runs()[RUN].state == state, f"the run is {state}")
