"""The files of deploy/ are what systemd takes, and start commands that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[1] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
BIN = Path(sys.executable).parent
ANALYZE = shutil.which("systemd-analyze")


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze on this machine")
@pytest.mark.parametrize("unit", UNITS, ids=[unit.name for unit in UNITS])
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    said = _verified(unit.name.replace("@.", "@my-pipeline."), unit.read_text(), tmp_path)

    assert said == ""


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze on this machine")
def test_the_check_of_units_knows_a_wrong_one(tmp_path: Path) -> None:
    said = _verified("distilmq.service", "[Service]\nExecStart=/bin/true\nRestrat=always\n", tmp_path)

    assert "Restrat" in said


@pytest.mark.parametrize("unit", ["distilmq-broker", "distilmq-worker"])
def test_a_unit_gives_options_that_its_command_has(unit: str) -> None:
    started = re.search(r"^ExecStart=\S+/distilmq (.+)$", (DEPLOY / "systemd" / f"{unit}.service").read_text(), re.M)
    assert started is not None
    commands = [word for word in started[1].split() if re.fullmatch("[a-z]+", word)]

    helped = subprocess.run([BIN / "distilmq", *commands, "--help"], capture_output=True, text=True, check=True).stdout

    assert set(re.findall(r"--[a-z-]+", started[1])) <= set(re.findall(r"--[a-z-]+", helped))


def _verified(name: str, text: str, folder: Path) -> str:
    """What systemd finds wrong with a unit, once its program is where this environment is."""
    path = folder / name
    path.write_text(text.replace("/srv/distilmq/.venv/bin", str(BIN)))
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, "verify", path], capture_output=True, text=True, check=False).stderr
