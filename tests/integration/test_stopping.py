"""Ctrl+C as a user types it: through a terminal, to the whole foreground process group, at every phase."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.integration.runs import Script, all_gone, family, until

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
            if inputs[0]["n"] >= 20 and os.environ.get("PHASE") in ("running", "draining"):
                wait_for("gate")
            yield [{**row, "seen": True} for row in inputs]

    with Pipeline("stopping") as pipeline:
        load = LoadDataFromDicts(data=[{"n": n} for n in range(50)], batch_size=5)
        load >> Slow(name="slow", input_batch_size=5)

    if __name__ == "__main__":
        dump(pipeline.run())
        (HERE / "after").touch()
"""


def start_in_terminal(script: Script, phase: str) -> tuple[subprocess.Popen[str], int]:
    """The script in a new session on its own terminal; Ctrl+C is written to the master end."""
    master, slave = pty.openpty()

    def own_terminal() -> None:
        os.setsid()
        import fcntl
        import termios

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = script.start(
        env={"PHASE": phase},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=False,
        preexec_fn=own_terminal,
    )
    os.close(slave)
    return process, master


def press_ctrl_c(master: int) -> None:
    os.write(master, b"\x03")


def drain_output(master: int, process: subprocess.Popen[str], seconds: float) -> str:
    """Reads what the script shows until it ends; fails when it does not end in time."""
    import select

    shown = b""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.05)[0]:
            try:
                shown += os.read(master, 65536)
            except OSError:
                break
        if process.poll() is not None and not select.select([master], [], [], 0)[0]:
            break
    process.wait(max(0.1, deadline - time.monotonic()))
    return shown.decode(errors="replace")


def test_a_first_ctrl_c_finishes_what_is_in_hand_and_ends_with_130(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", CODE)
    process, master = start_in_terminal(script, "running")
    until(lambda: any(20 in entry["rows"] for entry in script.worked), "the gated batch", 60)  # type: ignore[operator]
    processes = family(process.pid)

    press_ctrl_c(master)
    (script.folder / "gate").touch()
    shown = drain_output(master, process, 30)
    os.close(master)

    assert process.returncode in (130, -signal.SIGINT)
    assert "again" in shown.lower(), "it says how to resume"
    assert "KeyboardInterrupt" in shown
    assert not (script.folder / "after").exists(), "the next line must not run"
    until(lambda: all_gone(processes), "no process outlives the run", 10)

    before = len(script.worked)
    assert script.run() == 0
    assert [row["n"] for row in script.rows["default"]] == list(range(50))
    recorded_twice = [entry["rows"] for entry in script.worked[before:] if entry["rows"][0] <= 20]  # type: ignore[index]
    assert recorded_twice == [], "the batch in hand was finished and recorded"


@pytest.mark.parametrize("phase", ["loading", "running"])
def test_a_second_ctrl_c_ends_the_run_within_two_seconds(tmp_path: Path, phase: str) -> None:
    script = Script(tmp_path / "run", CODE)
    process, master = start_in_terminal(script, phase)
    if phase == "loading":
        until(lambda: (script.folder / "loading").exists(), "load() is called", 60)
    else:
        until(lambda: any(20 in entry["rows"] for entry in script.worked), "the gated batch", 60)  # type: ignore[operator]
    processes = family(process.pid)

    press_ctrl_c(master)
    if phase == "running":
        until(lambda: "draining" in read_some(master) or True, "a moment")
    press_ctrl_c(master)
    pressed = time.monotonic()
    drain_output(master, process, 15)
    took = time.monotonic() - pressed
    os.close(master)

    assert process.returncode in (130, -signal.SIGINT)
    assert took < 5, f"it took {took:.1f} s"
    until(lambda: all_gone(processes), "no process outlives the run", 10)


def read_some(master: int) -> str:
    import select

    if select.select([master], [], [], 0.5)[0]:
        return os.read(master, 65536).decode(errors="replace")
    return ""
