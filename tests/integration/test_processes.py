"""What a machine shows of a run: which processes there are, where they listen, what they write, and what they leave."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.accounts import Chain, living, recorded
from tests.integration.runs import Script, kill_tree, kind, until
from tests.warm.scripts import Started

CHAIN = Chain(batches=20, replicas=2, gate_at=20)
REPLICAS = 4

ROUTED = """
    @routing_batch_function
    def route(steps):
        (HERE / "route.txt").write_text(Path(f"/proc/{os.getpid()}/cmdline").read_text())
        return steps[:1]

    with Pipeline("routed") as pipeline:
        load = LoadDataFromDicts(data=[{"n": n} for n in range(10)], batch_size=5)
        load >> route >> [KeepColumns(name=name, columns=["n"]) for name in ("a", "b")]

    if __name__ == "__main__":
        dump(pipeline.run())
"""


@pytest.fixture
def halfway(tmp_path: Path) -> Iterator[tuple[Script, Started]]:
    """A run whose second step waits at the gate, in both replicas."""
    script = CHAIN.script(tmp_path / "run")
    process = script.start()
    until(lambda: sum(_waits(entry) for entry in script.worked) == CHAIN.replicas, "both replicas wait")
    yield script, process
    kill_tree(process.pid)
    process.wait()
    until(lambda: not living(script), "no process outlives the run")


@pytest.fixture
def temp_dir() -> Iterator[Path]:
    """A folder for temporary files, with a path that is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="dq-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def test_a_run_is_a_coordinator_a_supervisor_and_a_process_per_replica(halfway: tuple[Script, Started]) -> None:
    script, process = halfway
    # The generator has given all its rows by now: its process leaves.
    left = REPLICAS - 1
    until(lambda: [kind(process) for process in living(script)].count("worker") == left, "the generator has left")
    here = {one.pid: kind(one) for one in living(script) if one.pid != process.pid}

    parents = Counter((name, here.get(psutil.Process(one).ppid(), "script")) for one, name in here.items())
    others = {one for one, name in here.items() if name != "worker"}
    _end(script, process)

    assert parents == {("coordinator", "script"): 1, ("supervisor", "coordinator"): 1, ("worker", "supervisor"): left}
    assert len({entry["pid"] for entry in script.worked if entry["step"] == "double"}) == CHAIN.replicas
    assert {entry["pid"] for entry in script.worked}.isdisjoint({process.pid, *others}), "only workers run user code"
    assert script.rows["default"] == CHAIN.expected


def test_it_listens_on_a_socket_that_only_its_user_reaches(halfway: tuple[Script, Started]) -> None:
    script, process = halfway
    (coordinator,) = [process for process in living(script) if kind(process) == "coordinator"]
    command = coordinator.cmdline()
    endpoint = command[command.index("--endpoint") + 1]
    socket = Path(endpoint.removeprefix("ipc://"))

    status = socket.stat(), socket.parent.stat()
    internet = [each for process in living(script) for each in _internet(process)]
    _end(script, process)

    assert endpoint.startswith("ipc:///")
    assert len(str(socket)) < 100
    assert stat.S_ISSOCK(status[0].st_mode)
    assert stat.S_IMODE(status[1].st_mode) == 0o700
    assert status[1].st_uid == os.getuid()
    assert internet == [], "a local run speaks to nobody else"
    assert not socket.parent.exists()


def test_its_ledger_grows_while_it_runs_and_is_its_users_only(halfway: tuple[Script, Started]) -> None:
    script, process = halfway
    (run_dir,) = script.run_dirs

    first = len(recorded(script, CHAIN))
    (script.folder / "gate").touch()
    until(lambda: len(recorded(script, CHAIN)) > first, "the ledger grows")
    kept = [run_dir, run_dir / "plan.msgpack", run_dir / "ledger.db", run_dir / "segments"]
    modes = [stat.S_IMODE(path.stat().st_mode) for path in kept]
    _end(script, process)

    assert 0 < first < len(CHAIN.work)
    assert recorded(script, CHAIN) == set(CHAIN.work.values())
    assert modes == [0o700, 0o600, 0o600, 0o700]


def test_nothing_is_left_when_it_is_over(tmp_path: Path, temp_dir: Path) -> None:
    script = CHAIN.script(tmp_path / "run", TMPDIR=str(temp_dir))
    (script.folder / "gate").touch()

    assert script.run() == 0, script.output

    assert living(script) == []
    assert list(temp_dir.iterdir()) == []


def test_a_dry_run_leaves_no_file_at_all(tmp_path: Path, temp_dir: Path) -> None:
    script = CHAIN.script(tmp_path / "run", TMPDIR=str(temp_dir))
    script.path.write_text(script.path.read_text().replace("pipeline.run()", "pipeline.dry_run()"))
    (script.folder / "gate").touch()

    assert script.run() == 0, script.output

    assert living(script) == []
    assert list(temp_dir.iterdir()) == []
    assert not [path for path in script.cache.rglob("*") if path.is_file()]


def test_a_routing_function_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", ROUTED)

    assert script.run() == 0, script.output

    assert "distilmq_broker.adapters.routing" in (script.folder / "route.txt").read_text()
    assert living(script) == []


def _internet(process: psutil.Process) -> list[object]:
    """Its sockets but for those of the machine itself; none of a process that is leaving."""
    try:
        return [*process.net_connections(kind="inet")]
    except psutil.NoSuchProcess:
        return []


def _waits(entry: dict[str, object]) -> bool:
    return entry["step"] == "double" and entry["rows"][0] >= 20  # type: ignore[index]  # it is a list


def _end(script: Script, process: Started) -> None:
    (script.folder / "gate").touch()
    assert process.wait(60) == 0, script.output
    until(lambda: not living(script), "no process outlives the run")
