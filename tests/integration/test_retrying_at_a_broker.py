"""Failed rows of a run at a broker are computed again from afar, and nothing that was answered is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.distiset import Distiset
from distilmq.errors import DistilmqUserError
from distilmq.models import OpenAILLM
from distilmq.pipeline import Pipeline
from distilmq.steps import GlobalStep, StepColumns, StepInput, StepOutput, make_generator_step
from distilmq.steps.tasks import TextGeneration
from tests.broker.front.brokers import Program, broker_in
from tests.integration.hosts import Hosts, hosts_of, until
from tests.servers.providers import KEY, ProviderServer

FAILING = [7, 23, 59]


class Rank(GlobalStep):
    """Saves what it has ranked."""

    @property
    def inputs(self) -> StepColumns:
        return ["second"]

    @property
    def outputs(self) -> StepColumns:
        return ["rank"]

    def process(self, inputs: StepInput) -> StepOutput:
        order = sorted(str(row["second"]) for row in inputs)
        self.save_artifact("order", lambda folder: (folder / "order.txt").write_text("\n".join(order)))
        yield [{**row, "rank": order.index(str(row["second"]))} for row in inputs]


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        running.says = lambda prompt: prompt.upper()
        yield running


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", tcp=True) as started:
        yield started


@pytest.fixture
def hosts(program: Program, tmp_path: Path) -> Iterator[Hosts]:
    """They have no key of the provider: the client sends it."""
    with hosts_of(program, tmp_path) as started:
        started.start("h", "--slots", "4")
        yield started


def chain(server: ProviderServer, folder: Path, name: str = "chain", key: str | None = KEY) -> Pipeline:
    """Two models one after the other, and a step that takes all rows; a key that is not given is the workers'."""
    with Pipeline(name, cache_dir=folder) as pipeline:
        load = make_generator_step([{"instruction": f"row {n}."} for n in range(60)], batch_size=20)
        given = {} if key is None else {"api_key": key}
        models = [OpenAILLM(model=model, base_url=f"{server.url}/openai/v1", max_retries=1, **given) for model in "mn"]
        ask = TextGeneration(name="ask", llm=models[0], input_batch_size=20)
        again = TextGeneration(
            name="again",
            llm=models[1],
            input_batch_size=15,
            input_mappings={"instruction": "generation"},
            output_mappings={"generation": "second", "model_name": "second_model"},
        )
        load >> ask >> again >> Rank(name="rank")
    return pipeline


def with_failures(server: ProviderServer) -> None:
    for n in FAILING:
        server.fail(f"row {n}.", status=400, message="not like this")


def mended(server: ProviderServer) -> None:
    server.recover()
    server.asked.clear()


def target_of(program: Program) -> Path:
    return program.folder / "keys" / "client.json"


def rows_of(distiset: Distiset) -> list[dict[str, object]]:
    return list(distiset["default"]["train"])


def flawless(server: ProviderServer, program: Program, tmp_path: Path) -> list[dict[str, object]]:
    """The rows of a run in which nothing fails; of another pipeline, so that nothing is taken over."""
    server.recover()
    distiset = chain(server, tmp_path / "flawless", "flawless").run(broker=target_of(program), use_cache=False)
    return rows_of(distiset)


def sent(server: ProviderServer) -> Counter[tuple[str | None, str]]:
    return Counter((asked.model, asked.prompt) for asked in server.asked)


def anew(*numbers: int) -> Counter[tuple[str | None, str]]:
    """What is asked where these rows are computed again."""
    texts = [f"row {n}." for n in numbers]
    return Counter([("m", text) for text in texts] + [("n", text.upper()) for text in texts])


def typed(program: Program, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`distilmq failures …` on a machine that has nothing of the run."""
    return subprocess.run(
        [sys.executable, "-m", "distilmq", *arguments, "--broker", str(target_of(program))],
        env={**os.environ, "DISTILMQ_CACHE_DIR": str(program.folder.parent / "elsewhere")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.usefixtures("hosts")
def test_the_last_run_of_a_pipeline_is_revised_with_the_keys_that_the_script_has(
    tmp_path: Path, program: Program, server: ProviderServer
) -> None:
    with_failures(server)
    pipeline = chain(server, tmp_path / "client")
    pipeline.run(broker=target_of(program))
    first = pipeline.last_run
    assert first is not None
    assert sorted(letter["input"]["instruction"] for letter in first.failures) == ["row 23.", "row 59.", "row 7."]
    server.recover()
    server.fail("row 59.", status=400, message="still not")
    server.asked.clear()

    second = first.retry_failures(step="ask", error="not like this")

    assert second is pipeline.last_run
    assert [letter["message"] for letter in second.failures] == [second.failures[0]["message"]]
    assert sent(server) - Counter({("m", "row 59."): 1}) == anew(7, 23)
    mended(server)

    third = second.retry_failures()

    assert sent(server) == anew(59)
    assert third.failures == []
    assert [first.directory.name + number for number in ("", "-2", "-3")] == [
        run.directory.name for run in (first, second, third)
    ]
    assert third.usage.total.requests == 120, "what all revisions took together"
    distiset = third.distiset()
    assert rows_of(distiset) == flawless(server, program, tmp_path)
    assert distiset.artifacts_path is not None
    ranked = distiset.artifacts_path / "rank" / "order" / "order.txt"
    assert len(ranked.read_text().splitlines()) == 60
    with pytest.raises(DistilmqUserError, match="No row of the run failed"):
        third.retry_failures()


def test_failures_are_listed_shown_and_retried_from_a_terminal(
    tmp_path: Path, program: Program, server: ProviderServer
) -> None:
    with hosts_of(program, tmp_path) as hosts:
        hosts.start("h", "--slots", "4", OPENAI_API_KEY=KEY)
        with_failures(server)
        run = chain(server, tmp_path / "client", key=None).submit(target_of(program))
        assert run.wait(90) == "done"

        listed = typed(program, "failures", "list", "chain")
        shown = typed(program, "failures", "show", run.id, "2")
        none = typed(program, "failures", "retry", run.id, "--step", "rank")
        mended(server)
        done = typed(program, "failures", "retry", "chain")
        nothing_left = typed(program, "failures", "list", f"{run.id}-2")
        fetched = typed(program, "runs", "fetch", f"{run.id}-2", str(tmp_path / "fetched"))

        assert listed.returncode == shown.returncode == 0, listed.stderr + shown.stderr
        assert "3 failed row(s): 3 InvalidRequestError in 'ask'" in listed.stdout
        assert "Failed row 2 in step 'ask'" in shown.stdout
        assert (none.returncode, "None of the 3 failed row(s) is meant" in none.stderr) == (1, True)
        assert done.returncode == 0, done.stderr
        assert f"computed again, no failed row is left: run {run.id}-2" in done.stdout
        assert sent(server) == anew(*FAILING)
        assert "0 failed row(s)" in nothing_left.stdout
        assert fetched.returncode == 0, fetched.stderr
        assert rows_of(Distiset.load_from_disk(tmp_path / "fetched")) == flawless(server, program, tmp_path)


@pytest.mark.usefixtures("hosts")
def test_a_revision_goes_on_when_the_broker_is_killed_and_when_the_first_run_is_removed(
    tmp_path: Path, program: Program, server: ProviderServer
) -> None:
    with_failures(server)
    run = chain(server, tmp_path / "client").submit(target_of(program))
    assert run.wait(90) == "done"
    mended(server)
    server.hold(only="row 23.")

    revision = run.retry_failures()
    until(lambda: len(server.asked) == 3, "all three are asked")
    again = run.retry_failures()
    program.kill()
    program.start_again()
    typed(program, "runs", "rm", run.id)
    server.release()

    assert (again.id, again.attached) == (revision.id, True), "it is under way already: nothing is asked twice"
    assert revision.wait(90) == "done"
    assert sent(server) == anew(*FAILING)
    assert revision.failures == []
    assert rows_of(revision.distiset()) == flawless(server, program, tmp_path)


@pytest.mark.usefixtures("hosts")
def test_a_run_that_is_not_over_is_not_revised(tmp_path: Path, program: Program, server: ProviderServer) -> None:
    with_failures(server)
    server.hold(only="row 8.")
    run = chain(server, tmp_path / "client").submit(target_of(program))
    until(lambda: run.failures, "a row has failed")

    with pytest.raises(DistilmqUserError, match=f"run '{run.id}' is not over; wait for its end, or stop it"):
        run.retry_failures()

    server.release()
    assert run.wait(90) == "done"


@pytest.mark.usefixtures("hosts")
def test_a_revision_whose_key_nobody_knows_says_so_and_goes_on_when_it_is_told(
    tmp_path: Path, program: Program, server: ProviderServer
) -> None:
    with_failures(server)
    run = chain(server, tmp_path / "client").submit(target_of(program))
    assert run.wait(90) == "done"
    mended(server)

    revision = Pipeline.attach(run.id, target_of(program)).retry_failures()
    waits = "ask: waiting, 0/3 batches, 0/60 rows, 114/114 tokens in/out, —, waits for a secret: llm.api_key. Retry"
    until(lambda: waits in typed(program, "runs", "show", revision.id).stdout)
    revision.give_secrets({step: {"llm.api_key": KEY} for step in ("ask", "again")})

    assert revision.wait(90) == "done"
    assert sent(server) == anew(*FAILING)
