"""What a step does wrong ends at the row that did it, and a step that hangs ends when its time is over."""

from __future__ import annotations

from pathlib import Path

from tests.integration.runs import Script

HANGS = """
    class Hangs(Step):
        @property
        def inputs(self): return ["n"]
        @property
        def outputs(self): return ["seen"]
        def process(self, inputs: StepInput):
            if any(row["n"] == 2 for row in inputs):
                wait_for("never", 600)
            yield [{**row, "seen": True} for row in inputs]

    with Pipeline("hanging") as pipeline:
        LoadDataFromDicts(data=[{"n": n} for n in range(4)]) >> Hangs(name="hangs", input_batch_size=2, batch_timeout=1)

    if __name__ == "__main__":
        dump(pipeline.run())
        for failure in pipeline.last_run.failures:
            print("dead letter:", repr(failure["traceback"]))
"""


def test_a_row_whose_step_never_returns_is_ended_by_batch_timeout_and_its_neighbours_come_out(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", HANGS)

    assert script.run() == 0, script.output

    rows = script.rows["default"]
    assert [row["seen"] for row in rows] == [True, True, None, True]
    assert "longer than batch_timeout (1.0 s)" in rows[2]["distilmq_metadata"]["error_hangs"]  # type: ignore[index]
    (letter,) = [line for line in script.output.splitlines() if line.startswith("dead letter:")]
    assert "in wait_for" in letter, "it says where the step was"


def test_batch_timeout_can_be_set_when_the_pipeline_runs(tmp_path: Path) -> None:
    code = HANGS.replace(", batch_timeout=1)", ")").replace("class Hangs(Step)", "class Hangs(GlobalStep)")
    script = Script(tmp_path / "run", code.replace("run()", 'run(parameters={"hangs": {"batch_timeout": 0.5}})'))

    assert script.run() == 1

    assert "StepError: Step 'hangs' ended the run" in script.output
    assert "longer than batch_timeout (0.5 s)" in script.output
