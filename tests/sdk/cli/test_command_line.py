"""`distilmq` as a user types it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from distilmq.cli.parameters import parse_parameters
from distilmq.errors import DistilmqUserError
from distilmq.pipeline import Pipeline, sample_n_steps
from distilmq.steps import KeepColumns, LoadDataFromDicts

SCRIPT = """
from distilmq.pipeline import Pipeline
from distilmq.steps import LoadDataFromDicts, StepInput, step
from distilmq.mixins.runtime_parameters import RuntimeParameter

@step(inputs=["n"], outputs=["times"])
def times(rows: StepInput, factor: RuntimeParameter[int] = 2):
    yield [{**row, "times": factor * row["n"]} for row in rows]

with Pipeline("scripted") as flow:
    LoadDataFromDicts(data=[{"n": 1}, {"n": 2}]) >> times(name="times.two")
"""


def distilmq(
    *arguments: str, input: str | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command and gives its exit code and what it said."""
    return subprocess.run(
        [sys.executable, "-m", "distilmq", *arguments],
        env={**os.environ, "COLUMNS": "120", **(environment or {})},
        input=input,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    with Pipeline("configured", description="For the command line.") as pipeline:
        load = LoadDataFromDicts(name="load.all", data=[{"a": number, "b": "x"} for number in range(5)])
        load >> sample_n_steps(2) >> [KeepColumns(name=f"keep_{column}", columns=[column]) for column in ("a", "b")]
    pipeline.save(tmp_path / "pipeline.yaml")
    return tmp_path / "pipeline.yaml"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "my-script.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pipeline", "run"], "`--config` or `--script` must be informed."),
        (["pipeline", "run", "--config", "a.yaml", "--script", "b.py"], "Only one of `--config` or `--script` can be"),
        (["pipeline", "run", "--config", "absent.yaml"], "File 'absent.yaml' does not exist."),
        (["pipeline", "run", "--script", "absent.py"], "File 'absent.py' does not exist."),
        (["pipeline", "info", "--config", "absent.yaml"], "File 'absent.yaml' does not exist."),
        (["pipeline", "info"], "`--config` or `--script` must be informed."),
        (["pipeline", "run", "--config", "a.yaml", "--new"], "`--new` is about runs of a broker: say with `--broker`"),
        (["runs", "stop", "a", "--timeout", "soon"], "--timeout takes a time, such as 90, 58m or 4h, not 'soon'"),
        (["broker", "start", "--liveness", "0.5"], "--liveness is a second at least, not 0.5."),
    ],
)
def test_a_mistake_is_named_and_ends_with_1(arguments: list[str], words: str) -> None:
    done = distilmq(*arguments)

    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


def test_a_parameter_of_another_form_is_refused(config: Path) -> None:
    done = distilmq("pipeline", "run", "--config", str(config), "--param", "load")

    assert done.stderr == (
        "Runtime parameters must be in the format `key.subkey=value`: "
        "--param takes step.key=value or step.llm.key=value, not 'load'\n"
    )
    assert done.returncode == 1


def test_without_a_command_there_is_help() -> None:
    done = distilmq()

    assert "pipeline" in done.stdout
    assert done.returncode == 2
    assert distilmq("--version").stdout.strip() == "0.1.0"


def test_info_shows_what_a_pipeline_is(config: Path) -> None:
    done = distilmq("pipeline", "info", "--config", str(config))

    assert done.returncode == 0, done.stderr
    for words in (
        "Name: configured",
        "Description: For the command line.",
        "load.all -> keep_a",
        "input_batch_size (optional)",
        "load.all: sample_n_steps(2)",
    ):
        assert words in done.stdout


def test_a_saved_pipeline_is_run(config: Path) -> None:
    done = distilmq("pipeline", "run", "--config", str(config), "--param", "load.all.batch_size=2", "--ignore-cache")

    assert done.returncode == 0, done.stderr
    assert "keep_a" in done.stdout
    assert "num_rows: 5" in done.stdout
    assert "load.all: done, 3/3 batches" in done.stderr


def test_a_push_without_a_token_is_refused_before_the_run(config: Path, tmp_path: Path) -> None:
    done = distilmq(
        "pipeline", "run", "--config", str(config), "--repo-id", "me/mine",
        environment={"HF_TOKEN": "", "HF_HOME": str(tmp_path / "nobody")},
    )  # fmt: skip

    assert "To use `--repo-id` an API key must be provided via `--token`" in done.stderr
    assert "load.all" not in done.stderr
    assert done.returncode == 1


def test_a_pipeline_is_run_from_a_url(config: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=config.parent))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        done = distilmq("pipeline", "run", "--config", f"http://127.0.0.1:{server.server_port}/pipeline.yaml")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert done.returncode == 0, done.stderr
    assert "num_rows: 5" in done.stdout


def test_a_script_is_run_for_its_pipeline(script: Path) -> None:
    done = distilmq(
        "pipeline", "run", "--script", str(script), "--pipeline-variable-name", "flow",
        "--param", "times.two.factor=5",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "'times'" in done.stdout


def test_info_shows_the_pipeline_that_a_script_makes(script: Path) -> None:
    done = distilmq("pipeline", "info", "--script", str(script), "--pipeline-variable-name", "flow")

    assert "Name: scripted" in done.stdout
    assert done.returncode == 0


def test_a_script_without_that_variable_is_refused(script: Path) -> None:
    done = distilmq("pipeline", "run", "--script", str(script))

    assert "has no pipeline in the variable 'pipeline'" in done.stderr
    assert done.returncode == 1


def test_a_script_from_a_url_is_run_only_when_it_is_trusted() -> None:
    done = distilmq("pipeline", "run", "--script", "http://127.0.0.1:9/script.py", input="n\n")

    assert "Do you trust http://127.0.0.1:9/script.py?" in done.stdout
    assert done.returncode == 1


def test_the_step_of_a_parameter_is_the_longest_prefix_that_is_a_name() -> None:
    steps = {
        name: KeepColumns(name=name, columns=["a"], pipeline=Pipeline()) for name in ("gemini-1.5", "gemini-1.5.pro")
    }

    parameters = parse_parameters(["gemini-1.5.pro.llm.x=1", "gemini-1.5.llm.y=a=b", "absent.z.w=2"], steps)

    assert parameters == {
        "gemini-1.5.pro": {"llm": {"x": "1"}},
        "gemini-1.5": {"llm": {"y": "a=b"}},
        "absent": {"z": {"w": "2"}},
    }


def test_values_within_a_plain_dict_are_what_they_say() -> None:
    from tests.sdk.pipeline.some_steps import Asks

    step = Asks(name="ask", pipeline=Pipeline())

    parameters = parse_parameters(
        [
            "ask.service.generation_kwargs.temperature=0.7",
            "ask.service.generation_kwargs.stop=[1]",
            "ask.service.region=1",
        ],
        {"ask": step},
    )

    assert parameters == {"ask": {"service": {"generation_kwargs": {"temperature": 0.7, "stop": [1]}, "region": "1"}}}


@pytest.mark.parametrize("text", ["", "a", "a=1", "a.=1", ".b=1", "a.b"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(DistilmqUserError, match=r"--param takes step\.key=value"):
        parse_parameters([text], {})


ASKING = """
from distilmq.pipeline import Pipeline
from distilmq.steps import LoadDataFromDicts
from distilmq.steps.tasks import TextGeneration
from distilmq.testing import ScriptedLLM

with Pipeline("asking") as pipeline:
    load = LoadDataFromDicts(data=[{"instruction": f"row {n}"} for n in range(40)])
    load >> TextGeneration(name="ask", llm=ScriptedLLM(max_concurrency=1), input_batch_size=4)
"""


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        (["--max-tokens", "5"], "The run was stopped by max_tokens=5: "),
        (["--max-cost", "0.5"], "`max_cost` cannot hold, since the prices of these models are not known: 'scripted'"),
    ],
)
def test_a_run_can_be_bound(tmp_path: Path, bound: list[str], words: str) -> None:
    script = tmp_path / "asking.py"
    script.write_text(ASKING)

    done = distilmq("pipeline", "run", "--script", str(script), *bound)

    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
