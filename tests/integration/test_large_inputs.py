"""A global step takes far more rows than fit into a message: they come in parts, whoever dies on the way."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from distilmq.pipeline import Pipeline
from distilmq.steps import LoadDataFromDicts
from tests.broker.core.scene import only
from tests.broker.front.brokers import broker_in
from tests.integration import hosted_steps as samples
from tests.integration.accounts import living
from tests.integration.hosts import fetched, hosts_of, outcome, plan_of, submit
from tests.integration.runs import Script, all_gone, kind, of_kind, until

COUNTING = """
import hashlib

TEXT = 10_000
"Characters of a row."

class Load(GeneratorStep):
    @property
    def outputs(self): return ["n", "text"]

    def process(self, offset: int = 0):
        total = int(os.environ["ROWS"])
        for at in range(offset, total, 50):
            mark("load", [{"n": at}])
            rows = [{"n": n, "text": f"{n:08}".ljust(TEXT, "x")} for n in range(at, min(at + 50, total))]
            yield rows, at + 50 >= total

class Digest(GlobalStep):
    @property
    def inputs(self): return ["n", "text"]

    @property
    def outputs(self): return ["rows", "digest", "in_order"]

    def process(self, inputs: StepInput):
        mark("digest", inputs[:1])
        digest = hashlib.sha256("".join(row["text"] for row in inputs).encode()).hexdigest()
        in_order = [row["n"] for row in inputs] == list(range(len(inputs)))
        yield [{"n": 0, "text": "", "rows": len(inputs), "digest": digest, "in_order": in_order}]

if __name__ == "__main__":
    with Pipeline("large") as pipeline:
        Load(name="load") >> Digest(name="digest")
    dump(pipeline.run())
"""
MB = 100
"""Rows of the above in a million bytes."""
SMALL_PARTS = {"DISTILMQ_MAX_PART": "4000", "DISTILMQ_LOG_LEVEL": "DEBUG"}
ROWS = 1000
PARTS = ROWS * 10_000 // 4000


def assert_all_rows_came(script: Script, rows: int) -> None:
    [row] = script.rows["default"]
    assert (row["rows"], row["in_order"]) == (rows, True)


def parts_sent(folder: Path) -> dict[str, int]:
    """How many parts each process got."""
    sent: dict[str, int] = {}
    for log in folder.glob("**/pipeline.log"):
        for line in log.read_text().splitlines():
            entry = json.loads(line) if "part_sent" in line else {}
            if entry.get("event") == "part_sent":
                sent[entry["session"]] = sent.get(entry["session"], 0) + 1
    return sent


def said(folder: Path, event: str) -> int:
    """How often the logs below a folder say something."""
    return sum(log.read_text().count(f'"{event}"') for log in folder.glob("**/pipeline.log"))


def is_coordinator(process: psutil.Process) -> bool:
    return kind(process) == "coordinator"


def peak_memory(pid: int) -> int:
    """Bytes of memory that a process had at most so far; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def peak_of_coordinator(script: Script, rows: int) -> int:
    """Runs the script to its end."""
    process = script.start(env={"ROWS": str(rows)})
    try:
        [coordinator] = until(lambda: of_kind(process.pid, "coordinator"), "the coordinator is there")
        peak = 0

        def over() -> bool:
            nonlocal peak
            peak = max(peak, peak_memory(coordinator.pid))
            return process.poll() is not None

        until(over, "the script ends", 240)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, script.output
    assert_all_rows_came(script, rows)
    return peak


def test_the_coordinator_needs_no_more_memory_for_more_rows_of_a_global_step(tmp_path: Path) -> None:
    peaks = [peak_of_coordinator(Script(tmp_path / f"{size}", COUNTING), size * MB) for size in (50, 200)]

    assert peaks[1] <= 1.2 * peaks[0], peaks


def test_a_coordinator_that_dies_between_two_parts_costs_no_row(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", COUNTING, {"ROWS": str(ROWS), **SMALL_PARTS})

    code = script.run(env={"DISTILMQ_CRASH_AT": f"after_part:{PARTS // 2}"})
    until(lambda: all_gone(living(script)), "no process outlives the run")
    before = len(script.worked)

    assert code == 1
    assert "run the script again to go on from there" in script.output
    assert script.run() == 0, script.output
    assert_all_rows_came(script, ROWS)
    assert [entry["step"] for entry in script.worked[before:]] == ["digest"]


def test_a_worker_that_dies_between_two_parts_costs_no_row(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", COUNTING, {"ROWS": str(ROWS), **SMALL_PARTS})
    process = script.start()
    try:
        until(lambda: said(script.cache, "part_sent") > PARTS // 20, "parts are on their way", 90)
        only(of_kind(process.pid, "worker")).kill()
        code = process.wait(90)
    finally:
        process.kill()
        process.wait()

    first, second = parts_sent(script.cache).values()
    assert code == 0, script.output
    assert_all_rows_came(script, ROWS)
    assert first < PARTS, "it died before all of them were there"
    assert second >= PARTS, "the next one got all of them"
    assert [entry["step"] for entry in script.worked].count("digest") == 1


@pytest.mark.parametrize("tcp", [False, True], ids=["local", "with keys"])
def test_a_worker_goes_on_with_the_next_coordinator(tmp_path: Path, *, tcp: bool) -> None:
    rows = [{"n": number, "text": "x" * 200} for number in range(500)]
    with Pipeline("large") as pipeline:
        LoadDataFromDicts(name="load", data=rows, batch_size=50) >> samples.CountAll(name="count")
    broker = broker_in(tmp_path / "broker", tcp=tcp, **{**SMALL_PARTS, "DISTILMQ_MAX_PART": "100"})
    with broker as program, hosts_of(program, tmp_path) as hosts:
        hosts.start("h", "--slots", "1")
        submit(program, "r", plan_of(pipeline, log_level="DEBUG"))
        until(lambda: said(tmp_path / "broker", "part_sent") > 100, "parts are on their way")
        coordinators = [child for child in psutil.Process(program.process.pid).children() if is_coordinator(child)]
        only(coordinators).kill()
        until(lambda: said(tmp_path / "broker", "coordinator_started") == 2, "the next coordinator is there")

        finished = outcome(program, "r")
        counted = fetched(program, "r", "count")

    assert finished.outcome == "done"
    assert counted == [{"n": 0, "text": "", "rows": 500, "in_order": True}]
    assert len(parts_sent(tmp_path / "broker")) == 1, "the process outlived the coordinator"
