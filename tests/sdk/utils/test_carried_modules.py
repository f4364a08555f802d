"""Modules of the user's that go along with what is pickled, to where nothing of the user's machine is."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

AWAY = """
import pickle, sys
sys.path[:] = [path for path in sys.path if path not in ("", sys.argv[2])]
print(pickle.loads(open(sys.argv[1], "rb").read())(20))
"""
SCRIPT = """
import sys
import project.steps
from distilmq.pipeline.pickling import pickled_function

with open(sys.argv[1], "wb") as file:
    file.write(pickled_function(project.steps.double, "a function", travels=True))
"""


def carried(folder: Path, modules: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What `project.steps.double(20)` gives in a process that has none of these modules."""
    for name, code in modules.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code))
    (folder / "script.py").write_text(SCRIPT)
    pickled = folder.parent / "pickled"
    subprocess.run([sys.executable, "script.py", str(pickled)], cwd=folder, check=True)
    folder.rename(folder.parent / "gone")
    return subprocess.run(
        [sys.executable, "-c", AWAY, str(pickled), str(folder)], cwd="/", capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "imports",
    [
        "from .late import TWO",
        "from . import late; TWO = late.TWO",
        "from project.late import TWO",
        "import project.late; TWO = project.late.TWO",
        "from beside import TWO",
        "from folder.within import TWO",
        "from project.deep.deeper import TWO",
    ],
)
def test_what_a_function_imports_when_it_runs_is_there(tmp_path: Path, imports: str) -> None:
    ran = carried(
        tmp_path / "here",
        {
            "project/__init__.py": "",
            "project/steps.py": f"def double(n):\n    {imports}\n    return TWO * n\n",
            "project/late.py": "from beside import TWO\n",
            "project/deep/__init__.py": "from ..late import TWO\n",
            "project/deep/deeper.py": "from . import TWO\n",
            "folder/within.py": "import json\n\nTWO = json.loads('2')\n",
            "beside.py": "TWO = 2\n",
        },
    )

    assert (ran.stdout, ran.stderr) == ("40\n", "")


def test_an_error_names_the_file_that_the_user_knows(tmp_path: Path) -> None:
    ran = carried(
        tmp_path / "here",
        {
            "project/__init__.py": "",
            "project/steps.py": "def double(n):\n    from project import late\n    return late.double(n)\n",
            "project/late.py": "def double(n):\n    return 1 // 0\n",
        },
    )

    assert f'File "{tmp_path}/here/project/late.py", line 2, in double' in ran.stderr
    assert "ZeroDivisionError" in ran.stderr


def test_what_cannot_be_found_is_missing_as_ever(tmp_path: Path) -> None:
    ran = carried(
        tmp_path / "here",
        {
            "project/__init__.py": "",
            "project/steps.py": "def double(n):\n    import onlyhere_and_nowhere\n    return n\n",
        },
    )

    assert "ModuleNotFoundError: No module named 'onlyhere_and_nowhere'" in ran.stderr
