"""Results that are too large for one message, on real processes: whatever dies on the way, each row comes once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.runs import Script, of_kind, until

PARTS = {"DISTILMQ_MAX_PART": "2000"}
"""Bytes: the results below go in some thousand parts, which takes long enough to look."""

LARGE = """
class Many(GeneratorStep):
    @property
    def outputs(self):
        return ["n", "text"]

    def process(self, offset=0):
        mark("many", [{"n": 0}])
        yield [{"n": n, "text": str(n % 10) * 10_000} for n in range(300)], True

@step(inputs=["text"], outputs=["twice"])
def twice(inputs: StepInput):
    mark("twice", inputs)
    for row in inputs:
        row["twice"] = 2 * row["text"]
    yield inputs

with Pipeline(name="large") as pipeline:
    Many(name="many", batch_size=300) >> twice(name="twice", input_batch_size=300)

distiset = pipeline.run()
rows = distiset["default"]["train"]
found = [[row["n"], row["text"][0], len(row["text"]), len(row["twice"])] for row in rows]
(HERE / "rows.json").write_text(json.dumps(found))
"""

ROWS = [[n, str(n % 10), 10_000, 20_000] for n in range(300)]


def large_script(tmp_path: Path) -> Script:
    return Script(tmp_path / "run", LARGE, env=PARTS)


def half_there(script: Script, process: subprocess.Popen[str], size: int) -> None:
    """Waits until about so many bytes of a result have come, and not the whole of it."""

    def some() -> bool:
        assert process.poll() is None, script.output
        return any(path.stat().st_size > size for path in script.cache.glob("*/*/segments/*.part"))

    until(some, "part of a result", 60)


@pytest.mark.parametrize("step", ["many", "twice"])
@pytest.mark.parametrize("victim", ["worker", "coordinator"])
def test_a_death_while_its_parts_come_costs_no_row_and_doubles_none(tmp_path: Path, step: str, victim: str) -> None:
    script = large_script(tmp_path)
    process = script.start()
    # The first result has 3 MB, the second one 9.
    half_there(script, process, 100_000 if step == "many" else 3_200_000)
    for killed in of_kind(process.pid, victim):
        killed.kill()
    code = process.wait(90)

    if victim == "coordinator":
        assert code == 1
        assert script.run() == 0, script.output
    else:
        assert code == 0, script.output

    assert script.rows == ROWS
    assert [(name, part) for name, _, part in sorted(script.recorded())] == [("many", 0), ("twice", 0)]
    assert list(script.cache.glob("*/*/segments/*.part")) == []
