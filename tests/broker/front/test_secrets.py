"""Secrets of submitted runs: where they come from, what outlives a restart, and that they lie nowhere else."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distilmq.errors import DistilmqUserError
from distilmq.protocol import messages
from distilmq.protocol.plan import Plan
from distilmq_broker.front.cli import app
from distilmq_broker.front.secret_store import SecretStore
from tests.broker.front.brokers import BrokerClient, Program, broker_in, client_of, worker_of
from tests.broker.serving import Worker, chain
from tests.integration.runs import until

RUN = "run-1"
SECRET = "sk-very-secret"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A broker."""
    with broker_in(tmp_path / "broker") as started:
        yield started


def test_a_step_is_assigned_when_its_secret_has_come_and_again_after_a_coordinator_died(program: Program) -> None:
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, needy())
        _give(program, "llm.api_key", SECRET)
        first = _assigned(worker)
        (coordinator,) = program.coordinators()
        coordinator.kill()
        until(lambda: [other for other in program.coordinators() if other != coordinator], "there is another one")
        with worker_of(program, RUN) as other:
            again = _assigned(other)

    assert first.secrets == again.secrets == {"llm.api_key": SECRET}
    assert first.variables == {"llm.api_key": "SOME_API_KEY"}


def test_after_a_restart_of_the_broker_a_step_waits_for_what_only_a_client_knew(program: Program) -> None:
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, needy())
        _give(program, "llm.api_key", SECRET)
        _assigned(worker)
        program.kill()
        program.start_again()
        until(lambda: "waits for a secret: llm.api_key" in _note(client), "the run says what it waits for")
        _give(program, "llm.api_key", SECRET)
        until(lambda: not _note(client), "it waits no more")


def test_what_the_broker_keeps_comes_without_a_client(program: Program) -> None:
    _command(program, "set", "SOME_API_KEY", text=f"{SECRET}\n")
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, needy())
        assign = _assigned(worker)

    assert assign.secrets == {"llm.api_key": SECRET}


def test_a_secret_that_a_client_sent_is_on_no_disk(program: Program) -> None:
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, needy())
        _give(program, "llm.api_key", SECRET)
        _assigned(worker)
        program.terminate()

    kept = [path for path in program.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept == []


def test_names_are_kept_listed_and_removed_and_values_are_never_shown(program: Program) -> None:
    _command(program, "set", "B_KEY", text="secret-b")
    _command(program, "set", "A_KEY", text="secret-a\n")
    listed = _command(program, "list")
    _command(program, "rm", "B_KEY")
    wrong = _command(program, "rm", "B_KEY", code=1)
    path = program.folder / "secrets.json"

    assert listed == "A_KEY\nB_KEY\n"
    assert wrong == "B_KEY is not kept.\n"
    assert SecretStore(path).all() == {"A_KEY": "secret-a"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_others_can_read_or_that_is_none_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text('{"A_KEY": "secret-a"}')
    path.chmod(0o640)
    with pytest.raises(DistilmqUserError, match=f"chmod 600 {path}"):
        SecretStore(path).all()
    path.chmod(0o600)
    path.write_text("secret-a")
    with pytest.raises(DistilmqUserError) as raised:
        SecretStore(path).all()

    assert "secret-a" not in str(raised.value)


def needy() -> Plan:
    """A plan whose step needs a key."""
    plan = chain("load")
    (step,) = plan.steps
    return plan.model_copy(update={"steps": (step.model_copy(update={"secrets": {"llm.api_key": "SOME_API_KEY"}}),)})


def _give(program: Program, field: str, value: str) -> None:
    with client_of(program, RUN) as client:
        client.send(messages.Secrets(session=client.session, values={"load": {field: value}}))


def _assigned(worker: Worker) -> messages.Assign:
    worker.hello()
    return worker.expect(messages.Assign)[0]


def _note(client: BrokerClient) -> str:
    shown = client.shown(RUN)
    return "" if shown.progress is None else shown.progress.steps[0].note


def _command(program: Program, *arguments: str, text: str = "", code: int = 0) -> str:
    done = CliRunner().invoke(app, ["secrets", *arguments, "--dir", str(program.folder)], input=text)
    assert done.exit_code == code, done.output
    return done.output
