"""Ctrl+C as a user types it: through a terminal, to the whole foreground process group, at every phase."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.integration.runs import Script, all_gone, family, until
from tests.integration.terminal import Terminal
from tests.stopwatch import Stopwatch

CODE = """
    class Slow(Step):
        @property
        def inputs(self): return ["n"]
        @property
        def outputs(self): return ["seen"]
        def load(self):
            super().load()
            (HERE / "loading").touch()
            if os.environ.get("PHASE") == "loading":
                wait_for("gate")
        def process(self, inputs: StepInput):
            mark("slow", inputs)
            if inputs[0]["n"] >= 20 and os.environ.get("PHASE") in ("running", "draining", "importing"):
                wait_for("gate")
            yield [{**row, "seen": True if row["n"] % 2 else "twice"} for row in inputs]

    def wait_while_building(*warning):
        "The Distiset says so while it is written: the column `seen` holds types that do not join."
        (HERE / "building").touch()
        if os.environ.get("PHASE") == "building":
            wait_for("gate")

    import warnings
    warnings.showwarning = wait_while_building

    with Pipeline("stopping") as pipeline:
        load = LoadDataFromDicts(data=[{"n": n} for n in range(50)], batch_size=5)
        load >> Slow(name="slow", input_batch_size=5)

    if __name__ == "__main__":
        dump(eval(os.environ.get("CALL", "pipeline.run()")))
        (HERE / "after").touch()
"""

SLOW_IMPORT = """
import collections, os, pathlib, time

if os.environ.get("PHASE") == "importing":
    (pathlib.Path(os.environ["SCRIPT_DIR"]) / "importing").touch()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        collections.namedtuple("Compiled", "at runtime")
"""
"""A module that `datasets` needs, standing in the script's folder for one on a slow disk."""

HANDLED = """
    import signal

    signal.signal(signal.SIGTERM, lambda number, frame: (HERE / "mine").touch())
"""
"""In front of the script: it does something of its own on SIGTERM."""

PROMISED = 2.0
"""Seconds from the second Ctrl+C to the end of every process, where none of them must wait for a processor."""

COUNTED_DOWN = re.compile("1 batch in flight, at most 1[01][0-9] s")
"""Of 120 seconds some are gone; a screen that is late may pass over any of them."""

INTERRUPTED = (130, -signal.SIGINT)
"""How a shell sees it: Python ends itself by the signal, which a shell reports as 130."""


def reach(script: Script, phase: str) -> None:
    if phase in ("loading", "building", "importing"):
        until(lambda: (script.folder / phase).exists(), f"it is {phase}")
    else:
        until(lambda: any(20 in entry["rows"] for entry in script.worked), "the gated batch")  # type: ignore[operator]


def interrupt_pending(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return False
    pending = [int(line.split()[1], 16) for line in status if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(signals >> (signal.SIGINT - 1) & 1 for signals in pending)


def await_the_first(terminal: Terminal) -> None:
    """The kernel itself makes one of two that are pending. Python need not have looked by then."""
    until(lambda: "^C" in terminal.shown and not interrupt_pending(terminal.process.pid), "the first has come")


def test_a_first_ctrl_c_finishes_what_is_in_hand_and_ends_with_130(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", CODE)
    with Terminal(script, PHASE="running") as terminal:
        reach(script, "running")
        processes = family(terminal.process.pid)

        terminal.press_ctrl_c()
        until(lambda: "Ctrl+C again" in terminal.shown, "the countdown")
        (script.folder / "gate").touch()

        assert terminal.process.wait(60) in INTERRUPTED
    assert "runthescriptagain" in "".join(terminal.shown.split()), "wherever the terminal broke its lines"
    assert "KeyboardInterrupt" in terminal.shown
    assert not (script.folder / "after").exists(), "the next line must not run"
    until(lambda: all_gone(processes), "no process outlives the run")

    before = len(script.worked)
    assert script.run() == 0
    assert [row["n"] for row in script.rows["default"]] == list(range(50))
    again = [entry["rows"] for entry in script.worked[before:] if entry["rows"][0] <= 20]  # type: ignore[index]
    assert again == [], "the batch in hand was finished and recorded"


def test_a_first_ctrl_c_while_loading_ends_the_run_without_waiting_for_load(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", CODE)
    with Terminal(script, PHASE="loading") as terminal:
        reach(script, "loading")
        processes = family(terminal.process.pid)

        terminal.press_ctrl_c()

        assert terminal.process.wait(60) in INTERRUPTED
    assert "runthescriptagain" in "".join(terminal.shown.split()), "wherever the terminal broke its lines"
    until(lambda: all_gone(processes), "no process outlives the run")


def test_a_ctrl_c_while_the_dataset_is_built_keeps_every_row(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", CODE)
    with Terminal(script, PHASE="building") as terminal:
        reach(script, "building")
        processes = family(terminal.process.pid)

        terminal.press_ctrl_c()

        assert terminal.process.wait(60) in INTERRUPTED
    assert "run the script again to get the dataset" in terminal.shown.replace("\r\n", " ")
    assert not (script.folder / "after").exists(), "the next line must not run"
    until(lambda: all_gone(processes), "no process outlives the run")

    before = script.worked
    assert script.run() == 0
    assert [row["n"] for row in script.rows["default"]] == list(range(50))
    assert script.worked == before, "nothing ran again"


def test_a_ctrl_c_after_which_the_last_batch_ends_is_not_forgotten(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", CODE.replace("range(50)", "range(25)"))
    with Terminal(script, PHASE="running") as terminal:
        reach(script, "running")
        until(lambda: sum(step == "slow" for step, _, _ in script.recorded()) == 4, "all batches but the last")

        terminal.press_ctrl_c()
        until(lambda: "Ctrl+C again" in terminal.shown, "the countdown")
        (script.folder / "gate").touch()

        assert terminal.process.wait(60) in INTERRUPTED
    assert "All rows are done: run the script again to get the dataset" in terminal.shown.replace("\r\n", " ")
    assert not (script.folder / "after").exists(), "the next line must not run"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("pipeline.run(use_cache=False)", "run it again with use_cache=True to go on from there"),
        ("pipeline.dry_run()", "Nothing is kept of a dry run"),
    ],
)
def test_what_is_said_of_going_on_holds_for_how_it_was_run(tmp_path: Path, call: str, said: str) -> None:
    script = Script(tmp_path / "run", CODE)
    with Terminal(script, PHASE="loading", CALL=call) as terminal:
        reach(script, "loading")

        terminal.press_ctrl_c()

        assert terminal.process.wait(60) in INTERRUPTED
    assert said.replace(" ", "") in "".join(terminal.shown.split())


@pytest.mark.parametrize("phase", ["loading", "running", "draining", "building", "importing"])
def test_a_second_ctrl_c_ends_the_run_at_once(tmp_path: Path, phase: str) -> None:
    script = Script(tmp_path / "run", CODE, afresh=phase == "importing")
    if phase == "importing":
        (script.folder / "dill.py").write_text(SLOW_IMPORT)
    with Terminal(script, PHASE=phase) as terminal:
        reach(script, phase)
        processes = family(terminal.process.pid)

        terminal.press_ctrl_c()
        if phase == "running":
            until(lambda: "Ctrl+C again" in terminal.shown, "the countdown")
        elif phase == "draining":
            until(lambda: COUNTED_DOWN.search(terminal.shown), "a second of the countdown")
        else:
            await_the_first(terminal)
        terminal.press_ctrl_c()
        pressed = Stopwatch()
        assert terminal.process.wait(60) in INTERRUPTED
        until(lambda: all_gone(processes), "no process outlives the run")
        took = pressed.seconds
    assert took < PROMISED, f"it took {took:.1f} s"


@pytest.mark.parametrize("phase", ["loading", "running"])
def test_two_presses_in_quick_succession_are_two(tmp_path: Path, phase: str) -> None:
    script = Script(tmp_path / "run", CODE)
    with Terminal(script, PHASE=phase) as terminal:
        reach(script, phase)
        processes = family(terminal.process.pid)

        terminal.press_ctrl_c()
        await_the_first(terminal)
        terminal.press_ctrl_c()
        pressed = Stopwatch()
        assert terminal.process.wait(60) in INTERRUPTED
        until(lambda: all_gone(processes), "no process outlives the run")
        took = pressed.seconds
    assert took < PROMISED, f"it took {took:.1f} s"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_script_finishes_what_is_in_hand_and_says_how_to_resume(
    tmp_path: Path, number: signal.Signals
) -> None:
    script = Script(tmp_path / "run", CODE)
    process = script.start(env={"PHASE": "running"})
    try:
        reach(script, "running")
        processes = family(process.pid)

        process.send_signal(number)
        until(lambda: interrupted(script), "the coordinator was asked to stop")
        (script.folder / "gate").touch()

        assert process.wait(60) == 128 + number
    finally:
        process.kill()
        process.wait()
    assert "run the script again to go on from there" in script.output
    assert "Traceback" not in script.output
    assert not (script.folder / "after").exists(), "the next line must not run"
    until(lambda: all_gone(processes), "no process outlives the run")

    before = len(script.worked)
    assert script.run() == 0
    assert [row["n"] for row in script.rows["default"]] == list(range(50))
    again = [entry["rows"] for entry in script.worked[before:] if entry["rows"][0] <= 20]  # type: ignore[index]
    assert again == [], "the batch in hand was finished and recorded"


def test_a_terminal_that_is_closed_stops_the_run_as_ctrl_c_does(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", CODE)
    with Terminal(script, PHASE="running") as terminal:
        reach(script, "running")
        processes = family(terminal.process.pid)

        terminal.hang_up()
        until(lambda: interrupted(script), "the coordinator was asked to stop")
        (script.folder / "gate").touch()

        assert terminal.process.wait(60) == 128 + signal.SIGHUP
    until(lambda: all_gone(processes), "no process outlives the run")

    before = len(script.worked)
    assert script.run() == 0
    again = [entry["rows"] for entry in script.worked[before:] if entry["rows"][0] <= 20]  # type: ignore[index]
    assert again == [], "the batch in hand was finished and recorded"


def test_a_script_that_handles_the_signal_itself_runs_on(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", HANDLED + CODE)
    process = script.start(env={"PHASE": "running"})
    try:
        reach(script, "running")
        process.send_signal(signal.SIGTERM)
        until(lambda: (script.folder / "mine").exists(), "its own handler")
        (script.folder / "gate").touch()

        assert process.wait(60) == 0, script.output
    finally:
        process.kill()
        process.wait()
    assert [row["n"] for row in script.rows["default"]] == list(range(50))


def interrupted(script: Script) -> bool:
    return any('"stop_requested"' in log.read_text() for log in script.cache.glob("*/*/pipeline.log"))
