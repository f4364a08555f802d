"""The artifacts of a run: kept where they belong, whatever a peer says."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilmq.protocol.messages import Artifact, FileInfo
from distilmq_broker.run_files import RunFiles
from distilmq_broker.run_folder import RunFolder


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    folder = RunFolder(tmp_path / "run")
    folder.make()
    return RunFiles(folder, frozenset({"draw"}))


def part(path: str, offset: int = 0, *, last: bool = True, session: str = "s", step: str = "draw") -> Artifact:
    return Artifact(session=session, step=step, path=path, offset=offset, last=last)


def test_a_file_is_there_with_its_last_part(files: RunFiles) -> None:
    assert files.take(part("plots/one.svg", last=False), b"<svg>") is None
    assert files.listed() == ()
    assert files.take(part("plots/one.svg", 5), b"</svg>") is None

    assert files.listed() == (FileInfo(path="artifacts/draw/plots/one.svg", size=11),)
    assert files.part("artifacts/draw/plots/one.svg", 5) == b"</svg>"


@pytest.mark.parametrize(
    ("artifact", "reason"),
    [
        (part("../../out"), "no path below"),
        (part("/etc/passwd"), "no path below"),
        (part(""), "no path below"),
        (part("a\0b"), "no path below"),
        (part("x" * 300), "cannot be written: File name too long"),
        (part("there/below"), "cannot be written: File exists"),
        (part("one", 7), "missing before byte 7"),
        (part("one", step="../draw"), "there is no step"),
    ],
)
def test_what_cannot_be_kept_is_told_and_raises_nothing(
    files: RunFiles, tmp_path: Path, artifact: Artifact, reason: str
) -> None:
    files.take(part("there"), b"file")

    said = files.take(artifact, b"data")

    assert said is not None
    assert reason in said
    assert [info.path for info in files.listed()] == ["artifacts/draw/there"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("session", ["../../s", "a\0b", "s" * 1000, "\ud800"])
def test_a_session_is_no_part_of_a_path(files: RunFiles, session: str) -> None:
    assert files.take(part("one", session=session), b"data") is None

    assert files.part("artifacts/draw/one", 0) == b"data"


@pytest.mark.parametrize("offset", [-1, 4, 2**70])
def test_there_is_nothing_outside_a_file(files: RunFiles, offset: int) -> None:
    files.take(part("one"), b"data")

    assert files.part("artifacts/draw/one", offset) == b""
    assert files.part("artifacts/draw/../../log", 0) == b""
