"""The pages that are made from code and from recorded results are up to date."""

from __future__ import annotations

import subprocess
import sys

from tests.docs.pages import ROOT


def test_what_make_docs_writes_is_what_is_there() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert done.returncode == 0, done.stdout + done.stderr
