"""A script that is started warm is a program like any other."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import until
from tests.warm.python import Files, WarmPython, WarmScript, warm_python


@pytest.fixture(scope="module", autouse=True)
def warm() -> Iterator[WarmPython]:
    with warm_python(os.environ) as python:
        yield python


def started(warm: WarmPython, folder: Path, code: str, **environment: str) -> WarmScript:
    path = folder / "script.py"
    path.write_text(code)
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        files = Files(0, out.fileno(), err.fileno())
        return warm.start(path, {**os.environ, **environment}, files, cwd=folder)


def test_it_is_a_main_module_in_a_folder_session_and_environment_of_its_own(warm: WarmPython, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("HERE = 'beside'")
    code = "import beside, os, sys\nif __name__ == '__main__':\n" + "".join(
        f"    print({what})\n"
        for what in ("beside.HERE", "os.getcwd()", "os.environ['WHO']", "sys.argv", "os.getsid(0) == os.getpid()")
    )

    script = started(warm, tmp_path, code, WHO="me")

    assert script.wait(60) == 0, (tmp_path / "err").read_text()
    expected = ["beside", str(tmp_path), "me", str([str(tmp_path / "script.py")]), "True"]
    assert (tmp_path / "out").read_text().splitlines() == expected


def test_it_has_loaded_nothing_of_ours(warm: WarmPython, tmp_path: Path) -> None:
    code = "import sys\nprint([name for name in sys.modules if name.startswith(('distilmq', 'tests'))])"

    assert started(warm, tmp_path, code).wait(60) == 0

    assert (tmp_path / "out").read_text() == "[]\n"


@pytest.mark.parametrize(
    ("code", "ends_with"),
    [
        ("raise ValueError('no')", 1),
        ("raise SystemExit(7)", 7),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os; os.kill(0, 9)", -signal.SIGKILL),
        ("import atexit, os; atexit.register(os._exit, 3)", 3),
    ],
)
def test_it_ends_as_any_program_does(warm: WarmPython, tmp_path: Path, code: str, ends_with: int) -> None:
    script = started(warm, tmp_path, code)

    assert script.wait(60) == script.returncode == script.poll() == ends_with
    if "ValueError" in code:
        assert (tmp_path / "err").read_text().endswith("ValueError: no\n")


def test_one_that_runs_is_awaited_and_killed(warm: WarmPython, tmp_path: Path) -> None:
    code = "import pathlib, signal\npathlib.Path('up').touch()\nsignal.pause()"

    script = started(warm, tmp_path, code)
    until((tmp_path / "up").exists)

    assert script.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        script.wait(0)
    script.kill()
    assert script.wait(60) == -signal.SIGKILL


def test_another_end_is_not_kept_waiting(warm: WarmPython, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("long", "short")]
    for folder in folders:
        folder.mkdir()
    pausing = started(warm, folders[0], "import signal; signal.pause()")

    assert started(warm, folders[1], "").wait(60) == 0

    pausing.kill()
    assert pausing.wait(60) == -signal.SIGKILL


def test_what_libraries_read_when_they_are_loaded_must_be_the_same(warm: WarmPython) -> None:
    assert WarmPython.suiting({**os.environ, "DISTILMQ_CACHE_DIR": "/elsewhere", "HF_TOKEN": "a key"}) is warm
    assert WarmPython.suiting({**os.environ, "HF_ENDPOINT": "http://127.0.0.1:1"}) is None
    assert WarmPython.suiting({**os.environ, "PYTHONHASHSEED": "1"}) is None
