"""`use_fs_to_pass_data`: the rows go by way of a file system, and the dataset is what it is without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.passed_rows import PASSED
from tests.integration.runs import Script, of_kind, until
from tests.servers.ftp import ftp_server

RUN = """
if "WRONG" in os.environ:
    pipeline.run(storage_parameters={"path": os.environ["WRONG"]}, use_fs_to_pass_data=True)
dump(pipeline.run(HOW))
"""
ROWS = [{"n": n, "text": "x" * 1000, "twice": 2 * n, "of": 200} for n in range(200)]
HERE = ""
THERE = 'storage_parameters={"path": os.environ["PLACE"]}, use_fs_to_pass_data=True'
IN_THE_RUN = "use_fs_to_pass_data=True"


def script_of(tmp_path: Path, how: str, **env: str) -> Script:
    return Script(tmp_path / "run", PASSED + RUN.replace("HOW", how), env=env)


def passed(folder: Path) -> list[str]:
    """Files that are on their way."""
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("where", ["file", "ftp", "in the run"])
def test_rows_go_by_way_of_files_that_are_gone_in_the_end(tmp_path: Path, where: str) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    received: list[str] = []
    with ftp_server(shared, received) as served:
        place = served if where == "ftp" else shared.as_uri()
        script = script_of(tmp_path, IN_THE_RUN if where == "in the run" else THERE, PLACE=place)
        process = script.start()
        begun = until(lambda: passed(shared) or _in_run(script), "files on their way")
        (script.folder / "go").touch()
        code = process.wait(90)

    assert code == 0, script.output
    assert script.rows == {"default": ROWS}
    assert "distilmq-run" in begun
    assert passed(shared) == _in_run(script) == []
    if where == "ftp":
        # Ten batches that were loaded, the same on their way to the next step, and their results; all to the global
        # step, and what it gave.
        assert len([name for name in received if name != "distilmq-run"]) >= 32
    assert len(list(script.cache.glob("passed/*/segments/*"))) == 1


def test_a_worker_that_dies_with_its_files_half_sent_loses_nothing(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    script = script_of(tmp_path, THERE, PLACE=shared.as_uri())
    process = script.start()
    until(lambda: len(script.worked) >= 3, "some batches")
    for worker in of_kind(process.pid, "worker"):
        worker.kill()
    (script.folder / "go").touch()
    code = process.wait(90)

    assert code == 0, script.output
    assert script.rows == {"default": ROWS}
    assert passed(shared) == []


def test_a_place_that_cannot_be_written_ends_the_run_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    script = script_of(tmp_path, HERE, WRONG=(tmp_path / "file" / "below").as_uri())

    code = script.run()

    assert code == 1
    assert "cannot be written to" in script.output
    assert "make it so, or name another place" in script.output


def _in_run(script: Script) -> list[str]:
    return [name for folder in script.cache.glob("passed/*/batch_input_data") for name in passed(folder)]
