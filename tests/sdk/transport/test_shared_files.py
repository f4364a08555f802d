"""Files that both ends reach: on a disk they share, and on a server that neither of them is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.protocol.plan import Storage
from distilmq.transport.shared_files import SharedFiles, SharedFilesError
from tests.servers.ftp import ftp_server


@pytest.fixture(params=["file", "ftp"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "shared"
    folder.mkdir()
    if request.param == "file":
        yield folder.as_uri()
        return
    with ftp_server(folder) as served:
        yield served + "below"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_one_end_writes_the_other_takes_away(url: str, tmp_path: Path) -> None:
    coordinator, worker = SharedFiles(Storage(path=url), "run"), SharedFiles(Storage(path=url), "run")
    coordinator.begin()
    worker.check()

    file = worker.write("part-0", b"some rows")
    worker.write("part-1", b"left over")
    taken = coordinator.read(file)
    coordinator.remove(file)
    left = files_in(tmp_path)
    coordinator.end()

    assert taken == b"some rows"
    assert left == ["distilmq-run", "part-1"]
    assert files_in(tmp_path) == []


def test_a_file_that_is_gone_or_other_than_it_was_is_said_to_be(url: str) -> None:
    files = SharedFiles(Storage(path=url), "run")
    files.begin()
    file = files.write("part-0", b"some rows")
    files.read(file)
    files.remove(file)

    with pytest.raises(SharedFilesError, match="part-0 cannot be read from"):
        files.read(file)
    files.write("part-0", b"other row")
    with pytest.raises(SharedFilesError, match="is not what was written"):
        files.read(file)
    with pytest.raises(SharedFilesError, match="is no name of a file"):
        files.read(file.model_copy(update={"name": "../part-0"}))


def test_a_run_begins_with_an_empty_folder(url: str, tmp_path: Path) -> None:
    files = SharedFiles(Storage(path=url), "run")
    files.begin()
    files.write("part-0", b"of a life before")

    files.begin()

    assert files_in(tmp_path) == ["distilmq-run"]


def test_a_worker_that_does_not_see_the_folder_says_what_to_do(url: str) -> None:
    with pytest.raises(DistilmqUserError, match=r"cannot be read on this worker .*: give it access \(mount the folder"):
        SharedFiles(Storage(path=url), "another run").check()


def test_a_place_that_nobody_knows_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match=r"'nowhere://x'.*cannot be used"):
        SharedFiles(Storage(path="nowhere://x"), "run")


def test_what_is_said_of_a_place_holds_no_secret() -> None:
    storage = Storage(path="nowhere://rows:very-secret@host/x", options={"client": {"api_token": "of-the-place"}})

    with pytest.raises(DistilmqUserError) as refused:
        SharedFiles(storage, "run")

    assert "'nowhere://rows:***@host/x'" in str(refused.value)
    assert "very-secret" not in str(refused.value)
