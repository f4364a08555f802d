"""The client's conversation, with a scripted coordinator on a real socket."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from distilmq.errors import RunError
from distilmq.pipeline.client import FETCH_CREDIT, Client
from distilmq.protocol.messages import (
    Accepted,
    Control,
    ErrorInfo,
    Failures,
    Fetch,
    FetchFailures,
    Finished,
    Message,
    Note,
    Progress,
    Refused,
    Rows,
    Submit,
    Watch,
    Who,
)
from distilmq.transport.zeromq import connect
from tests.canary import Canary
from tests.sdk.pipeline.scripted_coordinator import ScriptedCoordinator, scripted_coordinator


@dataclass
class Heard:
    """A follower that keeps what it is told."""

    states: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def progress(self, progress: Progress) -> None:
        self.states.append(progress.state)

    def note(self, note: Note) -> None:
        self.notes.append(note.event)


@contextmanager
def client_of(coordinator: ScriptedCoordinator, heard: Heard | None = None, **options: object) -> Iterator[Client]:
    client = Client(
        connect(coordinator.endpoint),
        session="session-1",
        follower=heard or Heard(),
        **options,  # type: ignore[arg-type]  # options by name
    )
    try:
        client.open()
        yield client
    finally:
        client.close()


def whole_run(message: Message, payload: list[bytes]) -> list[Message]:
    match message:
        case Submit():
            return [Accepted(run="run", epoch=1)]
        case Watch():
            running = Progress(run="run", state="running")
            return [
                running,
                Note(session="", event="slow"),
                Progress(run="run", state="done"),
                Finished(outcome="done"),
            ]
        case _:
            return []


def test_a_run_is_submitted_and_followed_to_its_end() -> None:
    heard = Heard()
    with scripted_coordinator(whole_run) as coordinator, client_of(coordinator, heard) as client:
        accepted = client.submit(b"plan", {"task": {"llm.api_key": "sesame"}})
        finished = client.follow()

    assert accepted == Accepted(run="run", epoch=1)
    assert finished == Finished(outcome="done")
    assert heard == Heard(states=["running", "done"], notes=["slow"])
    assert coordinator.kinds()[:4] == ["Hello", "Secrets", "Submit", "Watch"]


def test_secrets_are_sent_before_the_plan() -> None:
    with scripted_coordinator(whole_run) as coordinator, client_of(coordinator) as client:
        client.submit(b"plan", {"task": {"llm.api_key": "sesame"}})

    secrets = coordinator.received[1]
    assert secrets.model_dump()["values"] == {"task": {"llm.api_key": "sesame"}}
    assert "sesame" not in repr(secrets)


def test_a_refused_plan_says_why_and_what_to_do() -> None:
    def script(message: Message, payload: list[bytes]) -> list[Message]:
        return [Refused(reason="another Python", fix="start with 3.11")] if isinstance(message, Submit) else []

    with (
        scripted_coordinator(script) as coordinator,
        client_of(coordinator) as client,
        pytest.raises(RunError, match=r"another Python start with 3\.11"),
    ):
        client.submit(b"plan", {})


def test_a_coordinator_that_does_not_know_the_client_is_told_again() -> None:
    asked: list[bool] = []

    def script(message: Message, payload: list[bytes]) -> list[Message]:
        if isinstance(message, Submit):
            return [Accepted(run="run", epoch=1)]
        if isinstance(message, Watch) and not asked:
            asked.append(True)
            return [Who()]
        return [Finished(outcome="done")] if isinstance(message, Watch) else []

    with scripted_coordinator(script) as coordinator, client_of(coordinator) as client:
        client.submit(b"plan", {})
        client.follow()

    assert coordinator.kinds()[:6] == ["Hello", "Secrets", "Submit", "Watch", "Hello", "Watch"]


def rows_of(count: int):
    """A script that has so many batches of one row."""

    def script(message: Message, payload: list[bytes]) -> list[tuple[Message, bytes] | Message]:
        if not isinstance(message, Fetch):
            return []
        start = int(message.cursor) + 1 if message.cursor else 0
        parts: list[tuple[Message, bytes] | Message] = [
            (Rows(step=message.step, cursor=str(place), rows=1), b"row %d" % place)
            for place in range(start, min(start + message.credit, count))
        ]
        if len(parts) < message.credit:
            parts.append(Rows(step=message.step, cursor=str(count), rows=0, last=True))
        return parts

    return script


@pytest.mark.parametrize("count", [0, 1, FETCH_CREDIT - 1, FETCH_CREDIT, FETCH_CREDIT + 1, 3 * FETCH_CREDIT])
def test_rows_are_fetched_in_order_a_few_batches_at_a_time(count: int) -> None:
    with scripted_coordinator(rows_of(count)) as coordinator, client_of(coordinator) as client:
        rows = list(client.fetch("leaf"))

    assert rows == [b"row %d" % place for place in range(count)]
    fetches = [message for message in coordinator.received if isinstance(message, Fetch)]
    assert len(fetches) == count // FETCH_CREDIT + 1


def test_rows_that_cannot_be_read_end_the_fetch_with_the_reason() -> None:
    reason = ErrorInfo(type="JournalError", message="batch 4 of step 'leaf': a block of zeros")

    def script(message: Message, payload: list[bytes]) -> list[tuple[Message, bytes] | Message]:
        if isinstance(message, Watch):
            return [Finished(outcome="done")]
        if isinstance(message, Fetch):
            return [(Rows(step="leaf", cursor="0", rows=1), b"row 0"), Finished(outcome="failed", error=reason)]
        return []

    with scripted_coordinator(script) as coordinator, client_of(coordinator) as client:
        client.follow()
        rows = client.fetch("leaf")

        assert next(rows) == b"row 0"
        with pytest.raises(RunError, match="batch 4 of step 'leaf'"):
            next(rows)


def test_dead_letters_come_until_an_empty_message() -> None:
    def script(message: Message, payload: list[bytes]) -> list[Message]:
        if not isinstance(message, FetchFailures):
            return []
        return [Failures(failures=({"row": 1}, {"row": 2})), Failures(failures=({"row": 3},)), Failures(failures=())]

    with scripted_coordinator(script) as coordinator, client_of(coordinator) as client:
        assert client.failures("task") == [{"row": 1}, {"row": 2}, {"row": 3}]


def test_a_readable_file_wakes_the_wait() -> None:
    def script(message: Message, payload: list[bytes]) -> list[Message]:
        if isinstance(message, Submit):
            return [Accepted(run="run", epoch=1)]
        return [Finished(outcome="stopped")] if isinstance(message, Control) and message.action == "stop" else []

    reader, writer = os.pipe()
    clients: list[Client] = []

    def on_wake() -> None:
        os.read(reader, 1)
        clients[0].stop(timeout=7.0)

    try:
        with (
            scripted_coordinator(script) as coordinator,
            client_of(coordinator, files=[reader], on_wake=on_wake) as client,
        ):
            clients.append(client)
            client.submit(b"plan", {})
            os.write(writer, b"!")
            finished = client.follow()
    finally:
        os.close(reader)
        os.close(writer)

    assert finished.outcome == "stopped"
    stop = next(message for message in coordinator.received if isinstance(message, Control))
    assert (stop.action, stop.timeout) == ("stop", 7.0)


def test_a_coordinator_that_is_gone_ends_the_wait() -> None:
    class GoneError(Exception):
        pass

    def check() -> None:
        raise GoneError

    with scripted_coordinator(lambda message, payload: []) as coordinator:
        client = Client(connect(coordinator.endpoint), session="s", follower=Heard(), check=check)
        try:
            with pytest.raises(GoneError):
                client.submit(b"plan", {})
        finally:
            client.close()


def test_closing_lets_the_coordinator_go() -> None:
    with scripted_coordinator(whole_run) as coordinator:
        with client_of(coordinator) as client:
            client.submit(b"plan", {})
        # The next conversation comes behind what the first one sent.
        with client_of(coordinator):
            pass

    assert Control(session="session-1", action="close") in coordinator.received


def test_a_client_of_workers_that_are_not_its_own_runs_nothing_of_theirs(tmp_path: Path) -> None:
    error = ErrorInfo(type="Odd", message="!", pickled=pickle.dumps(Canary(tmp_path / "canary")))

    def fails_while_it_is_read(message: Message, payload: list[bytes]) -> list[Message]:
        match message:
            case Watch():
                return [Finished(outcome="done")]
            case Fetch():
                return [Finished(outcome="failed", error=error)]
            case _:
                return []

    with scripted_coordinator(fails_while_it_is_read) as coordinator, client_of(coordinator) as client:
        client.follow()
        with pytest.raises(RunError, match="Odd: !"):
            list(client.fetch("load"))

    assert not (tmp_path / "canary").exists()
