"""The coordinator as a program: started by command line, ended from outside in every way."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from distilmq.protocol import messages
from distilmq_broker.coordinator_process import JOURNAL, LOCKED
from distilmq_broker.crash_points import POINTS
from tests.broker.recorded import journal_in, places_of, rows_of
from tests.broker.serving import Client, Worker, chain, place_of
from tests.waiting import until

_Start = Callable[..., "Program"]

IDLE_SUPERVISOR = """
import sys, subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
sys.stdin.read()
"""


class Program:
    """A running coordinator; its supervisors do nothing, the test plays the workers."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.endpoint = f"ipc:///tmp/distilmq-test-{uuid.uuid4().hex[:8]}"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "distilmq_broker", "run", "--dir", str(folder), "--endpoint", self.endpoint],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def wait(self) -> tuple[int, str]:
        """Exit code and what it said, once it has ended."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said

    def hang_up(self) -> None:
        """The client's end of its standard input closes."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def below(self) -> list[psutil.Process]:
        """All processes that it has started, and what these have started."""
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[_Start]:
    """Starts coordinators of the run in `tmp_path/cache/test/run`."""
    fake = tmp_path / "fake" / "distilmq_workers"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text(IDLE_SUPERVISOR)
    programs: list[Program] = []

    def _start(**environment: str) -> Program:
        environment.setdefault("PYTHONPATH", str(fake.parent))
        programs.append(Program(tmp_path / "cache" / "test" / "run", environment))
        return programs[-1]

    yield _start
    for program in programs:
        if program.process.poll() is None:
            for process in [*program.below(), program.process]:
                process.kill()
            program.process.communicate()


def test_a_client_closes_it_and_it_leaves_nothing_running(start: _Start) -> None:
    program = start()
    with Client(program.endpoint) as client, Worker(program.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        below = until(lambda: len(program.below()) >= 2 and program.below())
        worker.give(batch.lease, rows_of("load", 0), last=True)
        client.expect(messages.Finished)
        worker.send(messages.Bye(session=worker.session))
        client.send(messages.Control(session=client.session, action="close"))
        code, said = program.wait()

    assert (code, said) == (0, "")
    assert not any(process.is_running() for process in below)


def test_the_end_of_its_client_stops_it(start: _Start) -> None:
    program = start()
    with Client(program.endpoint) as client, Worker(program.endpoint) as worker:
        client.submit(chain("load", stop_timeout=30.0))
        worker.join()
        batch, _ = worker.batch()
        program.hang_up()
        worker.expect(messages.Drain)
        worker.give(batch.lease, rows_of("load", 0))
        for other in worker.waiting(messages.Batch):
            worker.send(messages.Returned(session=worker.session, lease=other.lease))
        code, _ = program.wait()

    assert code == 0
    with journal_in(program.folder) as journal:
        assert places_of(journal, "load") == [0]


def test_without_a_client_it_waits_for_one_and_leaves_with_the_life_line(start: _Start) -> None:
    program = start()
    with Client(program.endpoint):
        program.hang_up()
        code, _ = program.wait()

    assert code == 0


def test_ctrl_c_is_none_of_its_business(start: _Start) -> None:
    program = start()
    with Client(program.endpoint) as client:
        os.killpg(program.process.pid, signal.SIGINT)
        client.submit(chain("load"))
        assert program.process.poll() is None


def test_sigterm_drains_and_a_second_one_ends_everything(start: _Start) -> None:
    program = start()
    with Client(program.endpoint) as client, Worker(program.endpoint) as worker:
        client.submit(chain("load", stop_timeout=60.0))
        worker.join()
        worker.batch()
        below = until(lambda: len(program.below()) >= 2 and program.below())
        program.process.terminate()
        worker.expect(messages.Drain)
        program.process.terminate()
        code, _ = program.wait()

    assert code == 0
    assert not any(process.is_running() for process in below)


def test_a_second_coordinator_on_a_run_is_refused(start: _Start) -> None:
    first = start()
    with Client(first.endpoint) as client:
        client.submit(chain("load"))
        second = start()
        code, said = second.wait()

        assert code == LOCKED
        assert f"already has a coordinator: process {first.process.pid}" in said
        assert f"Attach to it at {first.endpoint}" in said
        assert first.process.poll() is None


def test_a_run_whose_coordinator_was_killed_is_taken_up_by_the_next(start: _Start) -> None:
    first = start()
    with Client(first.endpoint) as client:
        client.submit(chain("load"))
    first.process.kill()
    first.wait()

    second = start()
    with Client(second.endpoint) as client:
        accepted = client.submit(chain("load"))

    assert accepted.epoch == 2


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, start: _Start) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "test").write_text("in the way")

    code, said = start().wait()

    assert code == JOURNAL
    assert said == f"cannot make {tmp_path}/cache/test/run: Not a directory\n"


@pytest.mark.parametrize("point", [point for point in POINTS if point != "after_part"])
def test_nothing_is_lost_in_a_crash_at(start: _Start, point: str) -> None:
    """A worker keeps each result until it is acknowledged, and offers it again to the next coordinator."""
    acknowledged: list[int] = []
    held: list[tuple[messages.Lease, int]] = []
    plan = chain("load", "keep")
    for crash in (f"{point}:1", f"{point}:4"):
        program = start(DISTILMQ_CRASH_AT=crash, DISTILMQ_ROTATE_AT="3000", DISTILMQ_CHECKPOINT_AFTER="2")
        with Client(program.endpoint) as client, Worker(program.endpoint) as worker:
            client.submit(plan)
            assign = worker.join()
            assert assign.step == "load"
            for lease, place in held:
                worker.give(lease, rows_of("load", place))
            while program.process.poll() is None:
                for batch in worker.waiting(messages.Batch, 0.02):
                    place = place_of(batch.lease.seq_no)
                    held.append((batch.lease, place))
                    worker.give(batch.lease, rows_of("load", place))
                for ack in worker.waiting(messages.Ack, 0.01):
                    acknowledged.append(place_of(ack.lease.seq_no))
                    held = [(lease, place) for lease, place in held if lease != ack.lease]
            code, _ = program.wait()
            assert code == -signal.SIGKILL
        with journal_in(program.folder) as journal:
            places = places_of(journal, "load")
            assert places == list(range(len(places)))
            assert set(acknowledged) <= set(places)


def test_a_full_disk_pauses_the_run_until_there_is_room(start: _Start) -> None:
    program = start()
    with Client(program.endpoint) as client, Worker(program.endpoint) as worker:
        client.submit(chain("load"))
        client.send(messages.Watch(session=client.session))
        worker.join()
        batch, _ = worker.batch()
        _, most = resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        worker.give(batch.lease, rows_of("load", 0))
        paused = until(lambda: [shown for shown in client.waiting(messages.Progress) if shown.state == "paused"])
        acknowledged = worker.waiting(messages.Ack)
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (most, most))
        ack, _ = worker.expect(messages.Ack)
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 1), last=True)
        finished, _ = client.expect(messages.Finished)
        rows = client.fetch("load")

    assert "File too large" in paused[0].reason
    assert str(program.folder) in paused[0].reason
    assert acknowledged == []
    assert ack.lease.seq_no == ()
    assert finished.outcome == "done"
    assert rows == [*rows_of("load", 0), *rows_of("load", 1)]


def test_a_second_sigterm_does_not_wait_for_a_full_disk(start: _Start) -> None:
    program = start()
    with Client(program.endpoint) as client, Worker(program.endpoint) as worker:
        client.submit(chain("load"))
        client.send(messages.Watch(session=client.session))
        worker.join()
        batch, _ = worker.batch()
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        worker.give(batch.lease, rows_of("load", 0))
        until(lambda: [shown for shown in client.waiting(messages.Progress) if shown.state == "paused"])
        client.send(messages.Control(session=client.session, action="kill"))
        finished, _ = client.expect(messages.Finished)

    assert finished.outcome == "stopped"


def test_the_log_is_json_lines_that_name_run_and_epoch(start: _Start) -> None:
    program = start()
    with Client(program.endpoint) as client:
        client.submit(chain("load"))
        program.hang_up()
        program.wait()

    lines = [json.loads(line) for line in (program.folder / "pipeline.log").read_text().splitlines()]
    assert {line["run"] for line in lines} == {"run"}
    assert lines[0]["event"] == "coordinator_started"
    assert lines[-1]["event"] == "coordinator_ended"
    assert all(line["epoch"] == 1 for line in lines)


def test_the_program_starts_without_the_heavy_packages() -> None:
    code = (
        "import sys, distilmq_broker.coordinator_process\n"
        "heavy = {'structlog', 'rich', 'typer', 'datasets', 'pandas', 'pyarrow', 'numpy', 'openai', 'cloudpickle',"
        " 'networkx', 'asyncio', 'multiprocessing', 'distilmq.steps', 'distilmq.models', 'distilmq.pipeline'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"
