"""Packages that a step imports when rows come: a host that lacks one gives its rows to another, and says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.models import OpenAILLM
from distilmq.pipeline import Pipeline
from distilmq.protocol.plan import Plan
from distilmq.steps import LoadDataFromDicts, Step, StepResources
from tests.broker.front.brokers import Program, broker_in
from tests.integration.hosts import ROOT, Host, Hosts, fetched, hosts_of, outcome, plan_of, shown, submit, until
from tests.integration.lacking_steps import PACKAGE, AskingAndScoring, Scoring
from tests.servers.providers import KEY, ProviderServer

ROWS = 40
DOUBLED = [(number, 2 * number) for number in range(ROWS)]
MISSING = f"ModuleNotFoundError: No module named '{PACKAGE}'"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", options=["--liveness", "3"]) as started:
        yield started


@pytest.fixture
def hosts(program: Program, tmp_path: Path) -> Iterator[Hosts]:
    with hosts_of(program, tmp_path) as started:
        yield started


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder in which the package is installed."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / f"{PACKAGE}.py").write_text("def double(number):\n    return 2 * number\n")
    return folder


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Until it is there, whoever has the package waits."""
    return tmp_path / "gate"


def plan_with(step: type[Step], *, batch_size: int = 5, **fields: object) -> Plan:
    with Pipeline("lacking") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": n} for n in range(ROWS)], batch_size=batch_size)
        load >> step(name="score", input_batch_size=batch_size, resources=StepResources(replicas=3), **fields)
    return plan_of(pipeline)


def start_bare(hosts: Hosts, **environment: str) -> Host:
    """A host for one process of the step."""
    return hosts.start("bare", "--slots", "1", "--steps", "score", HOST="bare", **environment)


def start_equipped(hosts: Hosts, packages: Path, **environment: str) -> Host:
    """A host for the generator and one process of the step."""
    path = f"{ROOT}:{packages}"
    return hosts.start("equipped", "--slots", "2", HOST="equipped", PYTHONPATH=path, **environment)


def names_in(file: Path) -> set[str]:
    return set(file.read_text().split()) if file.exists() else set()


def assert_refused(program: Program, bare: Host) -> None:
    [refusal] = until(lambda: shown(program, "r").refusals)
    assert (refusal.worker, refusal.step) == ("bare", "score")
    assert refusal.reason == f"{MISSING}; install it there, and start the worker again"
    until(lambda: f"step 'score' cannot run here: {MISSING}; install it here, and start the worker again" in bare.said)


def assert_doubled(program: Program) -> None:
    rows = fetched(program, "r", "score")
    assert [(row["n"], row["doubled"]) for row in rows] == DOUBLED
    assert not any("error_score" in row.get("distilmq_metadata", {}) for row in rows)


def test_rows_that_need_a_package_are_done_where_it_is_and_a_host_that_gets_it_is_taken_again(
    program: Program, hosts: Hosts, packages: Path, gate: Path
) -> None:
    bare = start_bare(hosts)
    start_equipped(hosts, packages)
    submit(program, "r", plan_with(Scoring, gate=str(gate)))
    assert_refused(program, bare)
    until(lambda: not bare.children())

    bare.terminate()
    assert bare.wait() == 0
    start_bare(hosts, PYTHONPATH=f"{ROOT}:{packages}")
    reached = gate.with_name("gate.reached")
    until(lambda: names_in(reached) == {"bare", "equipped"})
    refusals = shown(program, "r").refusals
    gate.touch()

    assert refusals == ()
    assert outcome(program, "r").outcome == "done"
    assert_doubled(program)


def test_answers_that_need_a_package_to_be_read_are_read_where_it_is_and_paid_for_once(
    program: Program, hosts: Hosts, packages: Path, gate: Path, tmp_path: Path
) -> None:
    with ProviderServer() as server:
        server.hold()
        llm = OpenAILLM(model="m", base_url=f"{server.url}/openai/v1", max_concurrency=4)
        bare = start_bare(hosts, OPENAI_API_KEY=KEY)
        start_equipped(hosts, packages, OPENAI_API_KEY=KEY)
        begun = tmp_path / "begun"
        submit(program, "r", plan_with(AskingAndScoring, batch_size=4, llm=llm, gate=str(gate), begun=str(begun)))
        until(lambda: names_in(begun) == {"bare", "equipped"})
        server.release()
        assert_refused(program, bare)
        gate.touch()
        ended = outcome(program, "r").outcome

    assert ended == "done"
    assert_doubled(program)
    assert Counter(server.prompts) == Counter(f"number {number:02d}" for number in range(ROWS))


def test_a_run_fails_with_the_reason_when_no_worker_has_what_its_rows_need(
    program: Program, hosts: Hosts, gate: Path
) -> None:
    hosts.start("bare", "--slots", "3", HOST="bare")

    submit(program, "r", plan_with(Scoring, gate=str(gate)))
    finished = outcome(program, "r")

    assert (finished.outcome, finished.step, finished.loading) == ("failed", "score", True)
    assert finished.error is not None
    assert finished.error.message.startswith(f"No module named '{PACKAGE}' (No worker is left to try; tried: bare.")
    assert fetched(program, "r", "score") == []
