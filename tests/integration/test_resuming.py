"""Whatever is killed, running the script again gives the exact dataset, and no recorded batch runs twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.runs import Script, all_gone, family, kill_tree, of_kind, until

GATED = """
    @step(inputs=["n"], outputs=["doubled"])
    def double(inputs: StepInput):
        mark("double", inputs)
        if inputs[0]["n"] >= 60:
            wait_for("gate")
        yield [{**row, "doubled": row["n"] * 2} for row in inputs]

    @step(inputs=["doubled"], outputs=["more"])
    def add_one(inputs: StepInput):
        mark("add_one", inputs)
        yield [{**row, "more": row["doubled"] + 1} for row in inputs]

    with Pipeline("resuming") as pipeline:
        load = LoadDataFromDicts(data=[{"n": n} for n in range(100)], batch_size=5)
        load >> double(input_batch_size=5) >> add_one(input_batch_size=10)

    if __name__ == "__main__":
        dump(pipeline.run())
"""

EXPECTED = [{"n": n, "doubled": n * 2, "more": n * 2 + 1} for n in range(100)]


def rows_of(script: Script) -> list[dict[str, object]]:
    return [{name: row[name] for name in ("n", "doubled", "more")} for row in script.rows["default"]]


def doubled(script: Script) -> Counter[tuple[int, ...]]:
    return Counter(tuple(entry["rows"]) for entry in script.worked if entry["step"] == "double")  # type: ignore[arg-type]


def halfway(script: Script) -> int:
    """Starts the script and waits until its first sixty rows are through and the next batch hangs."""
    process = script.start()
    until(lambda: any(60 in entry["rows"] for entry in script.worked), "the gated batch")  # type: ignore[operator]
    until(lambda: sum(step == "double_0" for step, _, _ in script.recorded()) >= 12, "twelve recorded batches")
    return process.pid


@pytest.mark.parametrize("victim", ["script", "coordinator", "everything"])
def test_a_killed_run_goes_on_when_the_script_runs_again(tmp_path: Path, victim: str) -> None:
    script = Script(tmp_path / "run", GATED, afresh=True)
    pid = halfway(script)
    processes = family(pid)
    recorded = {entry for entry in doubled(script) if entry[0] < 60}

    if victim == "coordinator":
        of_kind(pid, "coordinator")[0].send_signal(signal.SIGKILL)
    elif victim == "script":
        os.kill(pid, signal.SIGKILL)
    else:
        kill_tree(pid)
    (script.folder / "gate").touch()
    until(lambda: all_gone(processes), "no process outlives the run")
    before = doubled(script)
    assert script.run() == 0

    assert rows_of(script) == EXPECTED
    again = doubled(script) - before
    assert not recorded & set(again), "a recorded batch ran again"


GIVEN = """
    import datasets
    import pandas as pd
    from distilmq.steps import make_generator_step

    rows = {"n": list(range(100)), "text": [f"row {n}" for n in range(100)]}
    given = datasets.Dataset.from_dict(rows) if os.environ["INPUT"] != "frame" else pd.DataFrame(rows)

    @step(inputs=["n"], outputs=["doubled"])
    def double(inputs: StepInput):
        mark("double", inputs)
        if inputs[0]["n"] >= 60:
            wait_for("gate")
        yield [{**row, "doubled": row["n"] * 2} for row in inputs]

    with Pipeline("given") as pipeline:
        work = double(input_batch_size=5)
        if os.environ["INPUT"] == "dataset step":
            make_generator_step(given, batch_size=5) >> work

    if __name__ == "__main__":
        arguments = {} if os.environ["INPUT"] == "dataset step" else {"dataset": given, "dataset_batch_size": 5}
        dump(pipeline.run(**arguments))
"""


@pytest.mark.parametrize("given", ["dataset", "dataset step", "frame"])
def test_a_killed_run_of_a_dataset_that_was_given_goes_on(tmp_path: Path, given: str) -> None:
    script = Script(tmp_path / "run", GIVEN, {"INPUT": given})
    pid = halfway(script)
    processes = family(pid)
    recorded = {entry for entry in doubled(script) if entry[0] < 60}

    kill_tree(pid)
    until(lambda: all_gone(processes), "no process outlives the run")
    (script.folder / "gate").touch()
    before = doubled(script)
    assert script.run() == 0

    found = [(row["n"], row["text"], row["doubled"]) for row in script.rows["default"]]
    assert found == [(n, f"row {n}", n * 2) for n in range(100)]
    assert not recorded & set(doubled(script) - before), "a recorded batch ran again"


def test_a_killed_worker_is_replaced_and_its_batch_goes_on(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", GATED)
    pid = halfway(script)
    gated = next(entry for entry in script.worked if 60 in entry["rows"])  # type: ignore[operator]

    os.kill(int(gated["pid"]), signal.SIGKILL)  # type: ignore[call-overload]
    until(lambda: doubled(script)[tuple(range(60, 65))] == 2, "the batch is handed out again")
    (script.folder / "gate").touch()
    until(lambda: (script.folder / "rows.json").exists(), "the end of the run")
    import psutil

    until(lambda: not psutil.pid_exists(pid) or all_gone([psutil.Process(pid)]), "the script ends")

    assert rows_of(script) == EXPECTED
    assert all(count == 1 for entry, count in doubled(script).items() if entry[0] != 60 and entry[0] != 65)


def test_a_finished_run_is_given_back_without_running_anything(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", GATED, afresh=True)
    (script.folder / "gate").touch()
    assert script.run() == 0
    before = script.worked

    assert script.run() == 0

    assert script.worked == before
    assert rows_of(script) == EXPECTED


def test_changing_one_step_runs_only_that_step_and_what_follows(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", GATED)
    (script.folder / "gate").touch()
    assert script.run() == 0
    before = doubled(script)

    changed = Script(tmp_path / "run", GATED.replace('row["doubled"] + 1', 'row["doubled"] + 2'))
    assert changed.run() == 0

    assert doubled(changed) == before, "an unchanged step ran again"
    assert [row["more"] for row in changed.rows["default"]] == [n * 2 + 2 for n in range(100)]


def test_changed_input_data_is_noticed(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", GATED)
    (script.folder / "gate").touch()
    assert script.run() == 0

    changed = Script(tmp_path / "run", GATED.replace('{"n": n} for n in range(100)', '{"n": n} for n in range(1, 101)'))
    assert changed.run() == 0

    assert [row["n"] for row in changed.rows["default"]] == list(range(1, 101))


def test_use_cache_false_runs_everything_again(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", GATED.replace("pipeline.run()", "pipeline.run(use_cache=False)"))
    (script.folder / "gate").touch()
    assert script.run() == 0
    assert script.run() == 0

    assert set(doubled(script).values()) == {2}
    assert rows_of(script) == EXPECTED


def test_use_cache_false_of_a_step_runs_it_and_what_follows_again(tmp_path: Path) -> None:
    code = GATED.replace("add_one(input_batch_size=10)", "add_one(input_batch_size=10, use_cache=False)")
    script = Script(tmp_path / "run", code)
    (script.folder / "gate").touch()
    assert script.run() == 0
    assert script.run() == 0

    assert set(doubled(script).values()) == {1}
    assert Counter(tuple(e["rows"]) for e in script.worked if e["step"] == "add_one").most_common(1)[0][1] == 2  # type: ignore[arg-type]
    assert rows_of(script) == EXPECTED


def test_a_script_run_again_at_once_waits_for_the_coordinator_of_the_killed_one(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", GATED)
    pid = halfway(script)
    os.kill(pid, signal.SIGKILL)

    again = script.start()
    until(lambda: any("leaving" in path.read_text() for path in script.cache.glob("*/*/lock")), "it waits")
    (script.folder / "gate").touch()

    assert again.wait(60) == 0
    assert rows_of(script) == EXPECTED
    assert max(doubled(script).values()) == 1, "the batch in hand was finished, and used"


HEEDLESS = """
    class Heedless(GeneratorStep):
        @property
        def outputs(self): return ["n"]

        def process(self, offset: int = 0):
            mark("begun", [])
            for at in range(0, 60, 5):
                if at == 30 and not (HERE / "died").exists():
                    (HERE / "died").touch()
                    wait_until_recorded(5)
                    os.kill(os.getpid(), 9)
                yield [{"n": n} for n in range(at, at + 5)], at == 55

    def wait_until_recorded(batches):
        import sqlite3
        [ledger] = HERE.glob("cache/*/*/ledger.db")
        deadline = time.monotonic() + 60
        while sqlite3.connect(ledger).execute("SELECT count(*) FROM batch").fetchone()[0] < batches:
            assert time.monotonic() < deadline

    if __name__ == "__main__":
        with Pipeline("heedless") as pipeline:
            Heedless(name="load", batch_size=5)
        dump(pipeline.run())
"""


def test_a_generator_that_does_not_look_at_its_offset_gives_no_row_twice(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", HEEDLESS)

    code = script.run()

    assert code == 0, script.output
    assert [row["n"] for row in script.rows["default"]] == list(range(60))
    assert len(script.worked) == 2, "it was begun twice"
    assert "rows that are recorded are passed over" in script.output
