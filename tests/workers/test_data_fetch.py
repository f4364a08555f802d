"""A step's data files come before the step is loaded, in order, each byte once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilmq.errors import DistilmqUserError
from distilmq.protocol import messages as m
from distilmq.protocol.plan import DataFile
from distilmq_workers import events
from distilmq_workers.commands import LoadStep, Say, WriteData
from distilmq_workers.data_fetch import ASK_AGAIN, DataFetch
from distilmq_workers.data_folder import DataFolder
from distilmq_workers.session import Session

WELCOME = m.Welcome(run="r", epoch=1, heartbeat=1.0, liveness=15.0, max_message=10**6)


def file_of(content: bytes, name: str = "rows.pickle") -> DataFile:
    return DataFile(name=name, size=len(content), digest=hashlib.blake2b(content, digest_size=32).hexdigest())


def part(asked: m.FetchFile, content: bytes, size: int) -> tuple[m.FilePart, bytes]:
    return m.FilePart(path=asked.path, offset=asked.offset), content[asked.offset : asked.offset + size]


def test_the_step_is_loaded_when_the_last_byte_is_here() -> None:
    content = b"0123456789"
    session = Session(m.Hello(role="worker", worker="w", session="me"), 0.0)
    session.start(0.0)
    session.handle(events.Received(WELCOME), 0.0)

    commands = session.handle(events.Received(m.Assign(step="s", replica=0, data=(file_of(content),)), [b"step"]), 0.0)
    written: list[WriteData] = []
    while not any(isinstance(command, LoadStep) for command in commands):
        asked = next(say.message for say in commands if isinstance(say, Say))
        assert isinstance(asked, m.FetchFile)
        answer, data = part(asked, content, 4)
        commands = session.handle(events.Received(answer, [data]), 1.0)
        written += [command for command in commands if isinstance(command, WriteData)]
        # It comes twice, or late: it is not wanted any more.
        assert session.handle(events.Received(answer, [data]), 1.0) == []

    assert b"".join(command.data for command in written) == content
    assert [command.offset for command in written] == [0, 4, 8]


def test_what_does_not_come_is_asked_for_again() -> None:
    session = Session(m.Hello(role="worker", worker="w", session="me"), 0.0)
    session.start(0.0)
    session.handle(events.Received(WELCOME), 0.0)
    session.handle(events.Received(m.Assign(step="s", replica=0, data=(file_of(b"x"),)), [b"step"]), 0.0)

    said = [command.message for command in session.handle(events.TimePassed(), ASK_AGAIN) if isinstance(command, Say)]

    assert m.FetchFile(session="me", path=file_of(b"x").digest) in said


@given(st.lists(st.binary(max_size=20), max_size=4, unique=True), st.integers(1, 7))
def test_all_bytes_of_all_files_are_asked_for_once(contents: list[bytes], size: int) -> None:
    files = {file_of(content).digest: content for content in contents}
    fetch = DataFetch([file_of(content) for content in contents], "me")
    got: dict[str, bytes] = {}

    while not fetch.done:
        answer, data = part(asked := fetch.ask(0.0), files[fetch.ask(0.0).path], size)
        assert fetch.take(answer, data)
        assert not fetch.take(answer, data) or asked.path != answer.path
        got[answer.path] = got.get(answer.path, b"") + data

    assert got == {digest: content for digest, content in files.items() if content}


def test_files_get_their_names_once_they_are_what_was_sent_and_are_removed(tmp_path: Path) -> None:
    content = b"0123456789"
    folder = DataFolder()
    folder.write(file_of(content).digest, 0, content[:4])
    folder.write(file_of(content).digest, 4, content[4:])

    path = folder.check([file_of(content), file_of(b"", "empty")])

    assert path is not None
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {"rows.pickle": content, "empty": b""}
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o600}
    folder.remove()
    assert not path.exists()


def test_a_file_that_came_damaged_is_refused() -> None:
    folder = DataFolder()
    folder.write(file_of(b"right").digest, 0, b"wrong")

    with pytest.raises(DistilmqUserError, match=r"the data file 'rows\.pickle' came damaged"):
        folder.check([file_of(b"right")])
    folder.remove()
