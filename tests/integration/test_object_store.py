"""Rows by way of an object store, on real processes: slow, away for a while, strict, and never a row lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distilmq.pipeline import Pipeline
from distilmq.protocol.plan import Plan, Storage
from distilmq.steps import LoadDataFromDicts
from tests.broker.core.scene import only
from tests.broker.front.brokers import Program, broker_in
from tests.integration import hosted_steps as samples
from tests.integration.hosts import Hosts, fetched, hosts_of, outcome, plan_of, shown, state_of, submit
from tests.integration.passed_rows import PASSED
from tests.integration.runs import Script, of_kind, until
from tests.integration.test_large_inputs import said
from tests.servers.s3 import SECRET, ObjectStore, object_store

BUCKET = "rows"
RUN = """
dump(pipeline.run(
    storage_parameters={"path": os.environ["PLACE"], **json.loads(os.environ.get("OPTIONS", "{}"))},
    use_fs_to_pass_data=True,
))
"""
ROWS = [{"n": n, "text": "x" * 1000, "twice": 2 * n, "of": 200} for n in range(200)]
PLACE = f"s3://{BUCKET}/passed"
IN_STORE = Storage(path=PLACE)


def script_of(tmp_path: Path, store: ObjectStore, place: str = PLACE, **env: str) -> Script:
    return Script(tmp_path / "run", PASSED + RUN, env={**store.environment(), "PLACE": place, **env})


def go(script: Script) -> None:
    """Lets the last step of the run go on."""
    (script.folder / "go").touch()


def written(store: ObjectStore) -> list[str]:
    """The paths of all that was put into the store so far."""
    return [path for method, path in store.requests if method == "PUT"]


def in_files(store: ObjectStore) -> list[str]:
    """The paths of rows that were put into the store so far."""
    return [path for path in written(store) if not path.endswith("/distilmq-run")]


def logged(script: Script, event: str) -> list[dict[str, object]]:
    """What the coordinator has logged under a name."""
    lines = [line for log in script.cache.glob("*/*/pipeline.log") for line in log.read_text().splitlines()]
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


def assert_exact(script: Script, code: int) -> None:
    assert code == 0, script.output
    assert script.rows == {"default": ROWS}
    recorded = script.recorded()
    assert len(recorded) == len(set(recorded)) == 21


def test_rows_go_by_way_of_an_object_store_and_are_gone_in_the_end(tmp_path: Path) -> None:
    with object_store(BUCKET) as store:
        script = script_of(tmp_path, store)
        go(script)
        code = script.run()

        assert_exact(script, code)
        # Ten batches to the step, its results, those that were loaded; all to the global step, and what it gave.
        assert len(in_files(store)) >= 32
        assert store.objects(BUCKET) == []


def test_what_dies_on_the_way_costs_no_row(tmp_path: Path) -> None:
    with object_store(BUCKET) as store:
        store.delay = 0.05
        script = script_of(tmp_path, store)
        process = script.start()
        until(lambda: len(script.worked) >= 3, "some batches")
        for worker in of_kind(process.pid, "worker"):
            worker.kill()
        until(lambda: len(script.worked) >= 8, "more batches")
        for coordinator in of_kind(process.pid, "coordinator"):
            coordinator.kill()
        assert process.wait(60) == 1
        left = store.objects(BUCKET)
        go(script)
        code = script.run()

        assert left != []
        assert_exact(script, code)
        assert store.objects(BUCKET) == []


def test_a_store_that_is_away_for_a_while_costs_no_row(tmp_path: Path) -> None:
    with object_store(BUCKET) as store:
        script = script_of(tmp_path, store)
        process = script.start()
        until(lambda: len(script.worked) >= 2, "some batches")
        store.go()
        # What could not be written goes in messages meanwhile.
        until(lambda: logged(script, "rows_not_put_away"), "the coordinator has noticed", 60)
        store.come()
        go(script)
        code = process.wait(90)

        assert_exact(script, code)
        assert "EndpointConnectionError: Could not connect to the endpoint" in script.output
        assert "It is tried again; meanwhile rows that cannot go that way are sent in messages" in script.output
        assert store.objects(BUCKET) == []


def test_a_run_begins_when_the_store_is_there(tmp_path: Path) -> None:
    with object_store(BUCKET) as store:
        store.go()
        script = script_of(tmp_path, store)
        go(script)
        process = script.start()
        until(lambda: logged(script, "joined"), "workers are there")
        store.come()
        code = process.wait(90)

        assert_exact(script, code)
        assert written(store)


@pytest.mark.parametrize(
    ("place", "key", "said"),
    [
        ("s3://no-such-bucket/passed", None, "The specified bucket does not exist"),
        (PLACE, "another-key", "PermissionError: Forbidden"),
    ],
    ids=["no bucket", "wrong key"],
)
def test_what_is_wrong_with_the_place_is_said_at_once(tmp_path: Path, place: str, key: str | None, said: str) -> None:
    with object_store(BUCKET) as store:
        script = script_of(tmp_path, store, place, **(store.environment(key=key) if key else {}))
        code = script.run()

        assert code == 1
        assert f"the place for passing data, '{place}' (`storage_parameters`), cannot be written to" in script.output
        assert said in script.output
        assert "make it so, or name another place" in script.output
        assert store.buckets == [BUCKET]


def test_secrets_among_the_options_are_only_in_the_plan(tmp_path: Path) -> None:
    with object_store(BUCKET) as store:
        given = json.dumps(store.options())
        environment = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "DISTILMQ_LOG_LEVEL": "DEBUG"}
        script = script_of(tmp_path, store, OPTIONS=given, **environment)
        go(script)
        code = script.run()

    assert_exact(script, code)
    holding = [path for path in script.cache.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert [path.name for path in holding] == ["plan.msgpack"]
    assert holding[0].stat().st_mode & 0o777 == 0o600
    assert SECRET not in script.output
    assert "`storage_parameters['secret']` is kept with the plan" in script.output


@pytest.mark.parametrize(
    ("victim", "delay"),
    [("host", 0.0), ("host", 1.0), ("coordinator", 0.0)],
    ids=["a host vanishes", "a host vanishes and the store is slow", "the coordinator dies"],
)
def test_at_a_broker_what_dies_costs_no_row(tmp_path: Path, victim: str, delay: float) -> None:
    with object_store(BUCKET) as store, at_broker(tmp_path, store) as (program, hosts):
        first = hosts.start("first", "--slots", "3", **store.environment())
        submit(program, "r", gated_plan(tmp_path))
        until((tmp_path / "begun").exists, "the step is at its rows")
        sent = in_files(store)
        store.delay = delay
        if victim == "host":
            first.end()
            hosts.start("second", "--slots", "3", **store.environment())
        else:
            only(program.coordinators()).kill()
            until(lambda: said(program.folder, "coordinator_started") == 2, "the next one is there")
        (tmp_path / "go").touch()
        finished = outcome(program, "r")
        counted = fetched(program, "r", "count")
        until(lambda: store.objects(BUCKET) == [], "what was left is removed")

    assert sent != []
    assert finished.outcome == "done"
    assert counted == [{"n": 0, "text": "", "rows": 40, "in_order": True}]


def test_a_worker_that_the_store_does_not_let_in_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    with object_store(BUCKET) as store, at_broker(tmp_path, store) as (program, hosts):
        hosts.start("stranger", "--slots", "3", **store.environment(key="another-key"))
        submit(program, "r", gated_plan(tmp_path))
        finished = outcome(program, "r")
        until(lambda: store.objects(BUCKET) == [], "what was left is removed")

    assert finished.outcome == "failed"
    assert finished.error is not None
    assert f"the place for passing data, '{PLACE}' (`storage_parameters`), cannot be read on" in finished.error.message
    assert "PermissionError" in finished.error.message


def test_secrets_of_a_submitted_run_are_only_in_its_plan(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with object_store(BUCKET) as store:
        options = store.options()
        plan = gated_plan(tmp_path, Storage(path=PLACE, options=options))
        with broker_in(tmp_path / "broker") as program, hosts_of(program, tmp_path) as hosts:
            host = hosts.start("host", "--slots", "3")
            submit(program, "r", plan)
            finished = outcome(program, "r")
            texts = [repr(shown(program, "r")), repr(state_of(program, "r")), host.said, program.log]

    assert finished.outcome == "done"
    assert not any(SECRET in text for text in texts)
    holding = [path for path in program.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert [path.name for path in holding] == ["plan.msgpack"]
    assert holding[0].stat().st_mode & 0o777 == 0o600


@contextmanager
def at_broker(folder: Path, store: ObjectStore) -> Iterator[tuple[Program, Hosts]]:
    """A broker that is let into the store, and lets go of a coordinator soon."""
    environment = {**store.environment(), "DISTILMQ_LINGER": "1"}
    broker = broker_in(folder / "broker", tcp=True, options=["--liveness", "3"], **environment)
    with broker as program, hosts_of(program, folder) as hosts:
        yield program, hosts


def gated_plan(folder: Path, storage: Storage = IN_STORE) -> Plan:
    """Three steps whose rows go by way of the store; the second waits for a file."""
    rows = [{"n": number, "text": "x" * 200} for number in range(40)]
    with Pipeline("passed") as pipeline:
        load = LoadDataFromDicts(name="load", data=rows, batch_size=20)
        double = samples.Gated(name="double", gate=str(folder / "go"), begun=str(folder / "begun"), input_batch_size=20)
        load >> double >> samples.CountAll(name="count")
    return plan_of(pipeline, storage=storage)
