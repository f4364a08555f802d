"""Supervisors are processes of their own group, with a life line, and every end is reported."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from distilmq_broker.adapters.process_launcher import ProcessLauncher

TELL = (
    "import json, os, sys\n"
    "print(json.dumps([sys.argv[1:], os.getcwd(), sys.path, os.getpgid(0) == os.getpid()]), flush=True)\n"
    "sys.exit(3 if sys.stdin.read() == '' else 4)"
)
HOLD = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where supervisors write."""
    path = tmp_path / "workers.log"
    path.touch()
    return path


def test_a_supervisor_is_started_where_the_client_was_with_its_import_path(tmp_path: Path, output: Path) -> None:
    local = tmp_path / "local modules"
    local.mkdir()
    launcher = _launcher(TELL, output, path=(str(local),), cwd=str(tmp_path))

    name = launcher.start(3)
    arguments, cwd, path, own_group = json.loads(_first_line(output))
    launcher.stop(now=True)

    assert arguments == ["--endpoint", "ipc:///tmp/x/c", "--worker", name, "--slots", "3"]
    assert cwd == str(tmp_path)
    assert str(local) in path
    assert own_group


def test_an_end_is_reported_once(output: Path) -> None:
    launcher = _launcher("raise SystemExit(7)", output)

    name = launcher.start(1)
    ends = _ends(launcher)

    assert ends == [(name, 7)]
    assert list(launcher.exited()) == []
    assert not launcher.running


def test_each_supervisor_has_its_own_name(output: Path) -> None:
    launcher = _launcher(HOLD, output)

    names = [launcher.start(1) for _ in range(3)]
    launcher.stop(now=True)

    assert len(set(names)) == 3


def test_terminating_leaves_time_and_killing_does_not(output: Path) -> None:
    polite = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print('up', flush=True)\ntime.sleep(600)"
    )
    launcher = _launcher(polite, output)
    name = launcher.start(1)
    _first_line(output)

    launcher.stop(now=False)

    assert _ends(launcher) == [(name, 5)]


def test_nobody_of_a_killed_group_is_left(output: Path) -> None:
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {HOLD!r}])\n"
        "print(child.pid, flush=True)\ntime.sleep(600)"
    )
    launcher = _launcher(parent, output)
    launcher.start(1)
    # The child says "up", its parent the pid, whoever is first.
    (pid,) = (line for line in _until_lines(output, 2) if line.isdecimal())
    child = psutil.Process(int(pid))

    launcher.stop(now=True)

    child.wait(60)
    assert not launcher.running


def test_a_supervisor_reads_the_end_of_file_when_its_launcher_is_gone(output: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from distilmq_broker.adapters.process_launcher import ProcessLauncher\n"
        f"launcher = ProcessLauncher(endpoint='x', output=Path({str(output)!r}), command=(sys.executable, '-c',"
        " 'import sys; print(1, flush=True); sys.stdin.read(); print(2, flush=True)'))\n"
        "launcher.start(1)\nos._exit(0)"
    )
    os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code)

    _until_lines(output, 2)


def _launcher(code: str, output: Path, *, path: tuple[str, ...] = (), cwd: str = "") -> ProcessLauncher:
    command = (sys.executable, "-P", "-c", code)
    return ProcessLauncher(endpoint="ipc:///tmp/x/c", output=output, path=path, cwd=cwd, command=command)


def _first_line(output: Path) -> str:
    return _until_lines(output, 1)[0]


def _until_lines(output: Path, count: int) -> list[str]:
    deadline = time.monotonic() + 20
    while output.read_text().count("\n") < count:
        assert time.monotonic() < deadline, output.read_text()
    return output.read_text().splitlines()


def _ends(launcher: ProcessLauncher) -> list[tuple[str, int]]:
    deadline = time.monotonic() + 20
    while not (ends := list(launcher.exited())):
        assert time.monotonic() < deadline
    return ends
