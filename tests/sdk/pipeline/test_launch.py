"""Whole runs from the script's side: real coordinator, workers and journal."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pydantic import SecretStr

from distilmq.errors import CoordinatorLostError, StepError
from distilmq.pipeline import Pipeline, sample_n_steps
from distilmq.pipeline.launch import folder_name
from distilmq.steps import (
    GeneratorStep,
    GeneratorStepOutput,
    LoadDataFromDicts,
    Step,
    StepColumns,
    StepInput,
    StepOutput,
    step,
)
from tests.sdk.pipeline.some_steps import Asks, Double, Service, Total, rows
from tests.waiting import until


def column(distiset: Any, name: str, leaf: str = "default") -> list[Any]:
    return list(distiset[leaf]["train"][name])


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_dry_run_takes_one_batch_and_leaves_nothing(own_cache_dir: Path) -> None:
    @step(inputs=["n"], outputs=["inverse"])
    def invert(inputs: StepInput) -> StepOutput:
        yield [{**row, "inverse": 1 / row["n"]} for row in inputs]

    parameters = {"load": {"batch_size": 7}}
    with Pipeline("dry") as pipeline:
        rows(100) >> invert(name="invert") >> Total(name="total")
    before = pipeline.dump()

    distiset = pipeline.dry_run(parameters=parameters, batch_size=3)

    assert column(distiset, "n") == [0, 1, 2]
    assert column(distiset, "inverse") == [None, 1.0, 0.5]
    assert (pipeline.dump(), parameters) == (before, {"load": {"batch_size": 7}})
    assert not own_cache_dir.exists()
    assert pipeline.last_run is not None
    assert not pipeline.last_run.directory.exists()
    assert pipeline.last_run.distiset() is distiset
    assert [letter["error"] for letter in pipeline.last_run.failures] == ["ZeroDivisionError: division by zero"]
    assert pipeline.last_run.failures[0]["input"] == {"n": 0}


def test_a_dry_run_takes_no_more_rows_of_a_generator_that_gives_all_at_once() -> None:
    @step(outputs=["n"], step_type="generator")
    def numbers(offset: int = 0) -> GeneratorStepOutput:
        yield [{"n": number} for number in range(offset, 100)], True

    with Pipeline("dry") as pipeline:
        numbers() >> Double(name="double")

    assert column(pipeline.dry_run(batch_size=2), "n") == [0, 1]
    assert len(column(pipeline.run(), "n")) == 100


def test_a_run_takes_a_dataset_twice_and_routes_it() -> None:
    with Pipeline("given") as pipeline:
        sample_n_steps(1) >> [Double(name="one"), Double(name="two")]

    first = pipeline.run(dataset=[{"n": number} for number in range(6)], dataset_batch_size=2)
    second = pipeline.run(dataset=[{"n": number} for number in range(8)], dataset_batch_size=2)

    assert sorted(column(first, "n", "one") + column(first, "n", "two")) == list(range(6))
    assert sorted(column(second, "n", "one") + column(second, "n", "two")) == list(range(8))


def test_a_run_again_takes_everything_from_the_cache_unless_told_otherwise(own_cache_dir: Path) -> None:
    marks = own_cache_dir.parent / "marks"

    class Marks(Step):
        def process(self, inputs: StepInput) -> StepOutput:
            with marks.open("a") as file:
                file.write(f"{len(inputs)}\n")
            yield inputs

    with Pipeline("again") as pipeline:
        rows(5) >> Marks(name="marks")

    for use_cache, expected in ((True, 1), (True, 1), (False, 2), (True, 2)):
        assert column(pipeline.run(use_cache=use_cache), "n") == [0, 1, 2, 3, 4]
        assert len(marks.read_text().splitlines()) == expected
    assert pipeline.last_run is not None
    assert pipeline.last_run.directory.name.endswith("-2")


def test_secrets_reach_the_worker_and_nothing_else(own_cache_dir: Path) -> None:
    with Pipeline("secret") as pipeline:
        rows(1) >> Asks(name="given", service=Service(region="eu", api_key=SecretStr("open-sesame")))
    pipeline.dag.steps["load"].connect(Asks(name="passed", service=Service(region="us"), pipeline=pipeline))

    distiset = pipeline.run(parameters={"passed": {"service": {"token": "sesame-opens"}}})

    assert column(distiset, "answer", "given") == ["small eu len 11"]
    assert column(distiset, "answer", "passed") == ["small us len 12"]
    for name in files_below(own_cache_dir):
        kept = (own_cache_dir / name).read_bytes()
        assert b"sesame-opens" not in kept, name
        assert b"open-sesame" not in kept, name


def test_what_is_logged_reaches_the_handlers_during_the_run() -> None:
    class Keeps(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.said: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.said.append(record.getMessage())

    handler = Keeps()
    with Pipeline("logged") as pipeline:
        rows(1) >> Double(name="double")

    pipeline.run(parameters={"absent": {}}, logging_handlers=[handler])

    assert any("Step 'absent' provided in" in text for text in handler.said)
    assert handler not in logging.getLogger("distilmq").handlers


def test_a_run_works_in_another_thread() -> None:
    with Pipeline("threaded") as pipeline:
        rows(4) >> Double(name="double")
    results: list[Any] = []

    thread = threading.Thread(target=lambda: results.append(pipeline.run()))
    thread.start()
    thread.join()

    assert column(results[0], "double") == [0, 2, 4, 6]


def test_a_generator_that_raises_ends_the_run_with_its_error() -> None:
    class OddError(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} {two}")

    class Breaks(GeneratorStep):
        @property
        def outputs(self) -> StepColumns:
            return ["n"]

        def process(self, offset: int = 0) -> GeneratorStepOutput:
            yield [{"n": 1}], False
            raise OddError(1, 2)

    with Pipeline("breaks") as pipeline:
        Breaks(name="breaks") >> Double(name="double")

    with pytest.raises(StepError, match=r"Step 'breaks' ended the run: .*1 2") as raised:
        pipeline.run()

    assert raised.value.step == "breaks"
    assert "raise OddError(1, 2)" in raised.value.worker_traceback
    assert raised.value.__cause__ is not None
    assert pipeline.last_run is not None
    assert pipeline.last_run.outcome == "failed"


def test_a_coordinator_that_is_killed_is_named_and_the_run_goes_on_next_time(tmp_path: Path) -> None:
    gate, started = tmp_path / "gate", tmp_path / "started"

    class Waits(Step):
        def process(self, inputs: StepInput) -> StepOutput:
            import time

            if inputs[0]["n"] >= 4 and not gate.exists():
                started.touch()
                while not gate.exists():
                    time.sleep(0.01)
            yield inputs

    with Pipeline("killed") as pipeline:
        LoadDataFromDicts(name="load", data=[{"n": n} for n in range(8)], batch_size=2) >> Waits(
            name="waits", input_batch_size=2
        )

    def kill() -> None:
        until(started.exists, "a batch is being worked on")
        for process in psutil.Process(os.getpid()).children():
            if "distilmq_broker" in " ".join(process.cmdline()):
                process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(CoordinatorLostError, match=r"died \(by signal 9\)[\s\S]*run the script again to go on"):
        pipeline.run()
    killer.join()
    gate.touch()

    assert pipeline.last_run is not None
    assert pipeline.last_run.outcome == "lost"
    assert column(pipeline.run(), "n") == list(range(8))


@pytest.mark.parametrize("name", ["a/b", "..", "", "x" * 300, "名", ".hidden", "-rf"])
def test_every_name_has_a_folder_of_its_own(name: str) -> None:
    folder = folder_name(name)

    assert folder != folder_name(name + "'")
    assert "/" not in folder
    assert len(folder) < 120
    assert not folder.startswith(".")
    assert folder_name("plain-name_1.5") == "plain-name_1.5"


class Shifts(Step):
    """Holds what no file can say."""

    by: Any = None

    def process(self, inputs: StepInput) -> StepOutput:  # type: ignore[override]  # takes one list
        yield [{"n": row["n"] + int(self.by[0])} for row in inputs]


def test_a_pipeline_that_cannot_be_saved_runs_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with Pipeline("unsaved") as pipeline:
        rows() >> Shifts(name="shift", by=np.array([5]))

    distiset = pipeline.run()

    assert column(distiset, "n") == [5, 6, 7]
    assert "pipeline.yaml is not kept with the dataset: Shifts.by holds a 'ndarray'" in caplog.text


def test_that_no_row_failed_is_known_without_asking_the_journal() -> None:
    with Pipeline("flawless") as pipeline:
        rows(3) >> Double(name="double")
    pipeline.run()
    assert pipeline.last_run is not None

    shutil.rmtree(pipeline.last_run.directory)

    assert pipeline.last_run.failures == []
