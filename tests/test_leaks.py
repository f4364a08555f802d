"""The check for leaks must be able to fail: each kind of leak is made in a test of its own."""

from __future__ import annotations

import pytest

CONFTEST = """
import pytest
from tests.leaks import leaks_since, take_snapshot

@pytest.fixture(autouse=True)
def nothing_left_behind():
    before = take_snapshot()
    yield
    left = leaks_since(before, grace=0.2)
    assert not left, left
"""

LEAKS = {
    "thread": "import threading\nkept = threading.Event()\nthreading.Thread(target=kept.wait, daemon=True).start()",
    "socket": "import socket\nkept = socket.socket()",
    "file": "kept = open(tmp_path / 'file', 'w')",
    "process": "import subprocess, sys\nkept = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1)",
    # Its threads take their names a moment after they have begun.
    "context": "import os, pathlib, zmq\nkept = zmq.Context()\nkept.socket(zmq.DEALER)\n"
    "names = lambda: [path.read_text() for path in pathlib.Path('/proc/self/task').glob('*/comm')]\n"
    "while not any(name.startswith('ZMQbg') for name in names()): os.sched_yield()",
}


@pytest.mark.parametrize("kind", LEAKS)
def test_what_a_test_leaves_behind_fails_it(
    pytester: pytest.Pytester, request: pytest.FixtureRequest, kind: str
) -> None:
    pytester.makeconftest(CONFTEST)
    body = "\n".join(f"    {line}" for line in LEAKS[kind].splitlines())
    pytester.makepyfile(f"held = []\n\ndef test_leaking(tmp_path):\n{body}\n    held.append(kept)\n")

    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--pyargs", "-o", f"pythonpath={request.config.rootpath}"
    )

    result.assert_outcomes(passed=1, errors=1)


def test_what_a_test_closes_is_no_leak(pytester: pytest.Pytester, request: pytest.FixtureRequest) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        """
        import socket, subprocess, sys, threading

        def test_tidy(tmp_path):
            thread = threading.Thread(target=lambda: None)
            thread.start()
            with socket.socket(), open(tmp_path / "file", "w"):
                subprocess.run([sys.executable, "-c", ""], check=True)
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", f"pythonpath={request.config.rootpath}")

    result.assert_outcomes(passed=1)
