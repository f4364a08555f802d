"""Worker programs of hosts, started as an operator starts them, and runs for them to serve."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from distilmq.pipeline import Pipeline
from distilmq.pipeline.compile import compile_plan
from distilmq.pipeline.prepare import RunOptions, prepare
from distilmq.protocol import messages
from distilmq.protocol.messages import runs
from distilmq.protocol.plan import Plan, RunSettings
from tests.broker.front.brokers import BrokerClient, Program, alive, client_of
from tests.network.machines import Machine
from tests.servers.link import Link
from tests.waiting import until as until

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


class Host:
    """`distilmq worker --connect …`.

    Args:
        target: where the broker is, or the connection file that says so.
        output: file for what it says.
        options: of the command line.
        on: the machine, where it is not this one.
        given: a line for its standard input, which then stays open until `hang_up`.
    """

    def __init__(
        self,
        target: str,
        output: Path,
        *options: str,
        on: Machine | None = None,
        given: str | None = None,
        **environment: str,
    ) -> None:
        self.output = output
        command = "import typer; from distilmq_workers.host.cli import worker; typer.run(worker)"
        with output.open("ab") as file:
            self.process = subprocess.Popen(
                [*(on.within if on else []), sys.executable, "-P", "-c", command, "--connect", target, *options],
                stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
                stdout=file,
                stderr=file,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                start_new_session=True,
            )
        if given is not None and self.process.stdin is not None:
            self.process.stdin.write(f"{given}\n".encode())
            self.process.stdin.flush()

    def hang_up(self) -> None:
        """Closes the other end of its standard input."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def children(self) -> list[psutil.Process]:
        """Its step processes."""
        try:
            return [child for child in psutil.Process(self.process.pid).children() if alive(child)]
        except psutil.NoSuchProcess:
            return []

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    @property
    def said(self) -> str:
        """What it has said so far, its step processes included."""
        return self.output.read_text()

    def end(self) -> None:
        """Whatever it does."""
        self.hang_up()
        self.process.kill()
        self.process.wait()


class Hosts:
    """Hosts of a test, named after the files in which they write."""

    def __init__(self, program: Program, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self.started: list[Host] = []

    def start(
        self,
        name: str = "h",
        *options: str,
        output: str = "",
        over: Link | None = None,
        on: Machine | None = None,
        **environment: str,
    ) -> Host:
        """Another one; it reaches the broker over a link, or is on another machine, where one is given."""
        file = self._folder / f"{output or name}.out"
        program = self._program
        local = program.endpoint.startswith("ipc://")
        target = program.endpoint if local else str(program.folder / "keys" / "worker.json")
        if over is not None:
            environment["DISTILMQ_CONNECTION"], target = target, f"tcp://127.0.0.1:{over.port}"
        host = Host(target, file, "--name", name, *options, on=on, **environment)
        self.started.append(host)
        return host


@contextmanager
def hosts_of(program: Program, folder: Path) -> Iterator[Hosts]:
    """Hosts until the block ends; then none of them, nor of their processes, is left."""
    hosts = Hosts(program, folder)
    try:
        yield hosts
    except BaseException:
        for host in hosts.started:
            print(f"--- {host.output.name}\n{host.said}")
        raise
    finally:
        children = [child for host in hosts.started for child in host.children()]
        for host in hosts.started:
            host.end()
        until(lambda: not any(alive(child) for child in children))


def plan_of(pipeline: Pipeline, **settings: Any) -> Plan:
    """A pipeline as it is submitted."""
    prepared = prepare(pipeline.dag, RunOptions())
    compiled = compile_plan(
        prepared.dag,
        name=pipeline.name,
        description="",
        signatures=prepared.signatures,
        stages=prepared.stages,
        settings=RunSettings(**{"heartbeat": 0.2, "liveness": 3.0, "use_cache": False, **settings}),
    )
    return compiled.plan


def submit(program: Program, run: str, plan: Plan) -> None:
    """Has a broker run it."""
    with BrokerClient(program) as client:
        answer = client.start(run, plan)
    assert isinstance(answer, runs.RunStarted), answer


def outcome(program: Program, run: str) -> messages.Finished:
    """How a run ends."""
    with client_of(program, run) as client:
        client.send(messages.Watch(session=client.session))
        finished, _ = client.expect(messages.Finished)
    return finished


def fetched(program: Program, run: str, step: str) -> list[dict[str, Any]]:
    """The rows of a step."""
    with client_of(program, run) as client:
        return client.fetch(step)


def state_of(program: Program, run: str) -> runs.RunInfo:
    """What `distilmq runs list` shows of a run."""
    with BrokerClient(program) as client:
        return client.runs()[run]


def shown(program: Program, run: str) -> runs.RunShown:
    """What `distilmq runs show` shows of a run."""
    with BrokerClient(program) as client:
        answer = client.ask(runs.ShowRun(session=client.session, run=run))
    assert isinstance(answer, runs.RunShown)
    return answer


def reasons(program: Program, run: str) -> list[str]:
    """Why a run has fewer processes than it wants."""
    return [unmet.reason for unmet in shown(program, run).unmet]
