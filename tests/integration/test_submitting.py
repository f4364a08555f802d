"""Pipelines that are submitted to a broker: scripts as users write them, with hosts that know nothing of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.pipeline import Pipeline
from tests.broker.front.brokers import Program, broker_in
from tests.integration.hosts import Hosts, hosts_of, state_of, until
from tests.network.machines import Machine

SCRIPT = """
import json, sys
from pathlib import Path

from datasets import Dataset

from distilmq.pipeline import Pipeline, routing_batch_function
from distilmq.steps import Step, StepInput, make_generator_step, step
from helpers import words

@step(inputs=["n"], outputs=["doubled"])
def double(inputs: StepInput):
    yield [{**row, "doubled": words.twice(row["n"])} for row in inputs]

class Keep(Step):
    waits_for: str = ""

    @property
    def inputs(self):
        return ["doubled"]

    def process(self, inputs: StepInput):
        import time

        while self.waits_for and not Path(self.waits_for).exists():
            time.sleep(0.01)
        self.save_artifact("seen", lambda folder: (folder / "first.txt").write_text(str(inputs[0]["n"])))
        yield inputs

@routing_batch_function
def first_of(steps):
    return steps[:1]

with Pipeline("travelling") as pipeline:
    data = make_generator_step(DATASET, batch_size=10)
    keep = Keep(name="keep", input_batch_size=10, waits_for=sys.argv[2] if len(sys.argv) > 2 else "")
    other = Keep(name="other")
    data >> double(name="double", input_batch_size=10) >> first_of >> [keep, other]

if __name__ == "__main__":
    HOW
"""
WORDS = "from helpers.more import TWO\n\ndef twice(n):\n    return TWO * n\n"
LISTED = '[{"n": n} for n in range(40)]'
MAPPED = 'Dataset.from_dict({"n": range(40)}).map(lambda row: {"n": row["n"]}, cache_file_name="./mapped.arrow")'
MANY = '[{"n": n, "text": str(n % 10) * 300_000} for n in range(40)]'
LARGE = f"Dataset.from_list({MANY})"
RUN = "distiset = pipeline.run(broker=sys.argv[1]); print(json.dumps(list(distiset['keep']['train'])))"
LEFT = """
    try:
        pipeline.run(broker=sys.argv[1])
    except Exception as error:
        print(error)
    left = pipeline.last_run
    failed = [(letter["step"], letter["input"]["n"]) for letter in left.failures]
    print(json.dumps([left.outcome, failed, [row["n"] for row in left.distiset()["keep"]["train"]]]))
"""
FATAL = """
def fatal():
    from distilmq.errors import StepFatalError

    raise StepFatalError("no way")
"""
SUBMIT = "print(pipeline.submit(sys.argv[1]).id)"
EXPECTED = [{"n": n, "doubled": 2 * n} for n in range(40)]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", tcp=True) as started:
        yield started


@pytest.fixture
def hosts(program: Program, tmp_path: Path) -> Iterator[Hosts]:
    with hosts_of(program, tmp_path) as started:
        yield started


class Away:
    """A script in a folder of its own, with modules that nobody else has."""

    def __init__(self, folder: Path, how: str, dataset: str = LISTED) -> None:
        self.folder = folder
        (folder / "helpers").mkdir(parents=True)
        (folder / "helpers" / "__init__.py").write_text("")
        (folder / "helpers" / "words.py").write_text(
            "from helpers.more import TWO\n\ndef twice(n):\n    return TWO * n\n"
        )
        (folder / "helpers" / "more.py").write_text("TWO = 2\n")
        (folder / "script.py").write_text(textwrap.dedent(SCRIPT.replace("DATASET", dataset).replace("HOW", how)))

    def start(self, program: Program, *arguments: str, on: Machine | None = None) -> subprocess.Popen[str]:
        """Starts it, here or on another machine."""
        target = str(program.folder / "keys" / "client.json")
        return subprocess.Popen(
            [*(on.within if on else []), sys.executable, "script.py", target, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "DISTILMQ_CACHE_DIR": str(self.folder / "cache")},
        )

    def run(self, program: Program, *arguments: str, on: Machine | None = None) -> str:
        """Runs it to its end; what it printed."""
        process = self.start(program, *arguments, on=on)
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        return out


def target_of(program: Program) -> Path:
    return program.folder / "keys" / "client.json"


@pytest.mark.parametrize(
    "dataset",
    [LISTED, MAPPED, MANY, LARGE],
    ids=["rows in the script", "a dataset in files", "rows that are large", "a dataset that is large"],
)
def test_a_script_runs_on_hosts_that_have_nothing_of_it(
    tmp_path: Path, program: Program, hosts: Hosts, dataset: str
) -> None:
    hosts.start("h", "--slots", "3")

    rows = json.loads(Away(tmp_path / "script", RUN, dataset).run(program))

    assert [{name: row[name] for name in ("n", "doubled")} for row in rows] == EXPECTED
    assert all(row.get("text", str(row["n"] % 10) * 300_000) == str(row["n"] % 10) * 300_000 for row in rows)
    data = list(program.folder.glob("runs/*/data/*"))
    assert len(data) == (1 if dataset in (MANY, LARGE) else 0)
    assert {path.stat().st_mode & 0o777 for path in data} <= {0o600}
    # Large rows do not come a second time within the plan.
    [plan] = program.folder.glob("runs/*/plan.msgpack")
    assert plan.stat().st_size < 1_000_000
    assert list((tmp_path / "script" / "cache").glob(".submitted-*")) == []


def test_modules_that_are_imported_when_a_step_runs_travel_along(
    tmp_path: Path, program: Program, hosts: Hosts
) -> None:
    hosts.start("h", "--slots", "3")
    script = Away(tmp_path / "script", RUN)
    (script.folder / "helpers" / "words.py").write_text(
        "def twice(n):\n    from . import late\n    import beside\n\n    return late.times(n, beside.TWO)\n"
    )
    (script.folder / "helpers" / "late.py").write_text(
        "from helpers.more import ONE\n\n\ndef times(n, m):\n    return n * m * ONE\n"
    )
    (script.folder / "helpers" / "more.py").write_text("ONE = 1\n")
    (script.folder / "beside.py").write_text("TWO = 2\n")

    assert json.loads(script.run(program)) == EXPECTED


def test_a_submitted_run_outlives_its_script_and_another_host_fetches_it(
    tmp_path: Path, program: Program, hosts: Hosts
) -> None:
    run = Away(tmp_path / "script", SUBMIT).run(program).strip()
    hosts.start("h", "--slots", "3")

    attached = Pipeline.attach(run, target_of(program), cache_dir=tmp_path / "elsewhere")
    assert attached.wait(timeout=90) == "done"
    distiset = attached.distiset()

    assert [{name: row[name] for name in ("n", "doubled")} for row in distiset["keep"]["train"]] == EXPECTED
    assert len(distiset["other"]["train"]) == 0
    assert distiset["other"]["train"].column_names == ["n", "doubled"]
    assert "name: travelling" in distiset.pipeline_path.read_text()
    assert (distiset.artifacts_path / "keep" / "seen" / "first.txt").read_text() == "30"
    assert '"event": "plan_accepted"' in distiset.log_filename_path.read_text()
    assert tmp_path / "elsewhere" in distiset.log_filename_path.parents


def test_a_script_that_runs_again_follows_the_run_that_is_unfinished(
    tmp_path: Path, program: Program, hosts: Hosts
) -> None:
    hosts.start("h", "--slots", "3")
    script = Away(tmp_path / "script", RUN)
    gate = tmp_path / "gate"
    first = script.start(program, str(gate))
    until(lambda: _states(program) == ["running"])
    until(lambda: any(step.rows for step in Pipeline.attach(_ids(program)[0], target_of(program)).progress().steps))

    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    second = script.start(program, str(gate))
    assert second.stderr is not None
    begun = next(line for line in second.stderr if "run '" in line)
    gate.touch()
    out, _ = second.communicate(timeout=90)

    assert first.returncode == 130 or first.returncode == -signal.SIGINT
    assert "goes on at the broker" in said
    assert begun == f"Following run '{_ids(program)[0]}'.\n"
    assert [row["n"] for row in json.loads(out)] == list(range(40))
    assert len(_ids(program)) == 1


def test_a_run_that_fails_raises_where_it_is_waited_for_and_nothing_is_unpickled(
    tmp_path: Path, program: Program, hosts: Hosts
) -> None:
    hosts.start("h", "--slots", "3")
    script = Away(tmp_path / "script", SUBMIT)
    code = (script.folder / "script.py").read_text()
    (script.folder / "script.py").write_text(code.replace("return steps[:1]", "raise ValueError('no way')"))
    run = Pipeline.attach(script.run(program).strip(), target_of(program))

    with pytest.raises(Exception, match="no way") as raised:
        run.wait(90)

    assert not isinstance(raised.value.__cause__, ValueError)
    assert state_of(program, run.id).state == "failed"


@pytest.mark.parametrize(
    ("code", "outcome", "failed", "most"),
    [
        ("return TWO * n if n != 7 else {}[n]", "done", [["double", 7]], 40),
        ("return fatal() if n == 33 else TWO * n", "failed", [], 30),
    ],
)
def test_what_is_left_of_a_run_at_a_broker_is_asked_for_there(
    tmp_path: Path, program: Program, hosts: Hosts, code: str, outcome: str, failed: list[object], most: int
) -> None:
    hosts.start("h", "--slots", "3")
    script = Away(tmp_path / "script", LEFT)
    words = script.folder / "helpers" / "words.py"
    words.write_text(words.read_text().replace("return TWO * n", code) + FATAL)

    out = script.run(program)

    *left, rows = json.loads(out.splitlines()[-1])
    assert left == [outcome, failed]
    assert rows == list(range(len(rows)))
    assert len(rows) == most if outcome == "done" else len(rows) <= most


def test_a_run_is_paused_stopped_and_gone_on_with(
    tmp_path: Path, program: Program, hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    hosts.start("h", "--slots", "3")
    gate = tmp_path / "gate"
    run = Pipeline.attach(Away(tmp_path / "script", SUBMIT).run(program, str(gate)).strip(), target_of(program))
    until(lambda: any(step.rows for step in run.progress().steps))

    with pytest.raises(TimeoutError, match=run.id):
        run.wait(timeout=0.1)
    run.pause()
    until(lambda: run.info().state == "paused")
    with pytest.raises(TimeoutError, match=run.id):
        run.wait(timeout=1.5)
    assert [record.getMessage() for record in caplog.records if "paused" in record.getMessage()] == [
        f"Run '{run.id}' is paused (it was asked for). `distilmq runs resume {run.id}` goes on."
    ]
    run.resume()
    run.stop(timeout=0.0)
    stopped = run.wait(60)
    gate.touch()
    run.resume()
    done = run.wait(60)

    assert (stopped, done) == ("stopped", "done")
    assert [row["n"] for row in run.distiset()["keep"]["train"]] == list(range(40))
    assert run.failures == []


def test_an_unknown_run_and_an_unreadable_connection_file(tmp_path: Path, program: Program) -> None:
    with pytest.raises(DistilmqUserError, match="no run 'nowhere'"):
        Pipeline.attach("nowhere", target_of(program))
    with pytest.raises(DistilmqUserError, match="key of a worker"):
        Pipeline.attach("nowhere", program.folder / "keys" / "worker.json")


def _states(program: Program) -> list[str]:
    return [info.state for info in _runs(program)]


def _ids(program: Program) -> list[str]:
    return [info.run for info in _runs(program)]


def _runs(program: Program) -> list[Any]:
    from distilmq.pipeline.broker_line import BrokerLine, connect_to

    with BrokerLine(lambda: connect_to(target_of(program))) as line:
        return list(line.runs())
