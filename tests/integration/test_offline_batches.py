"""Batch jobs: whoever dies wherever, and whatever becomes of a job, each request is paid for once."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from tests.integration.runs import Script, all_gone, family, kill_tree, of_kind, until
from tests.integration.terminal import Terminal
from tests.servers.batch_jobs import Point
from tests.servers.providers import ProviderServer

CODE = """
    from distilmq.models import AnthropicLLM, MistralLLM, OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    CLASSES = {"openai": OpenAILLM, "anthropic": AnthropicLLM, "mistral": MistralLLM}

    with Pipeline("offline") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"question {n}."} for n in range(60)], batch_size=60)
        llm = CLASSES[os.environ.get("PROVIDER", "openai")](
            model="gpt-4",
            use_offline_batch_generation=True,
            offline_batch_generation_block_until_done=1,
            **json.loads(os.environ.get("LLM", "{}")),
        )
        generations = int(os.environ.get("GENERATIONS", 1))
        ask = TextGeneration(name="ask", llm=llm, input_batch_size=10, num_generations=generations)
        if os.environ.get("REPLICAS"):
            ask.resources.replicas = int(os.environ["REPLICAS"])
        load >> ask

    if __name__ == "__main__":
        dump(pipeline.run(**json.loads(os.environ.get("RUN", "{}"))))
"""
QUESTIONS = [f"question {n}." for n in range(60)]
ANSWERS = [f"You said: {question}" for question in QUESTIONS]


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture
def script(tmp_path: Path, provider: ProviderServer) -> Script:
    return Script(tmp_path / "run", CODE, provider.env(tmp_path))


def answers_of(script: Script) -> list[object]:
    return [row["generation"] for row in script.rows["default"]]


def jobs_in_ledger(script: Script) -> list[tuple[str, int]]:
    """What the provider calls each job, and whether it is known to be over."""
    with closing(sqlite3.connect(f"file:{script.run_dirs[-1] / 'ledger.db'}?mode=ro", uri=True, timeout=10)) as ledger:
        return ledger.execute("SELECT id, ended FROM job ORDER BY time").fetchall()


def assert_each_was_computed_once(provider: ProviderServer) -> None:
    assert Counter(asked.prompt for asked in provider.answered) == Counter(QUESTIONS)


def test_many_batches_become_one_job(script: Script, provider: ProviderServer) -> None:
    assert script.run() == 0, script.output

    assert answers_of(script) == ANSWERS
    assert [len(job.lines) for job in provider.jobs.begun] == [60]
    assert_each_was_computed_once(provider)
    assert jobs_in_ledger(script) == [(provider.jobs.begun[0].id, 1)]


TOGETHER = """
    from distilmq.models import MistralLLM, MixtureOfAgentsLLM, OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    jobs = {"use_offline_batch_generation": True, "offline_batch_generation_block_until_done": 1}

    with Pipeline("together") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"question {n}."} for n in range(60)], batch_size=60)
        llm = MixtureOfAgentsLLM(
            aggregator_llm=MistralLLM(model="one", **jobs), proposers_llms=[OpenAILLM(model="two", **jobs)]
        )
        load >> TextGeneration(name="ask", llm=llm, input_batch_size=10)

    if __name__ == "__main__":
        dump(pipeline.run())
"""


def test_models_that_answer_together_are_asked_through_as_few_jobs(tmp_path: Path, provider: ProviderServer) -> None:
    script = Script(tmp_path / "run", TOGETHER, provider.env(tmp_path))

    assert script.run(timeout=150) == 0, script.output

    assert answers_of(script) == ANSWERS
    assert [(job.provider, len(job.lines)) for job in provider.jobs.begun] == [("openai", 60), ("mistral", 60)]


@pytest.mark.parametrize("name", ["openai", "mistral"])
def test_files_are_deleted_when_all_that_was_in_them_is_recorded(
    script: Script, provider: ProviderServer, name: str
) -> None:
    provider.jobs.stall("results")
    env = {"PROVIDER": name}
    process = script.start(env=env)
    until(provider.jobs.stalled.is_set, "the answers are asked for", 120)
    kill(process.pid, "all")
    process.wait(60)
    before = provider.jobs.files
    provider.jobs.go_on()

    assert script.run(env=env) == 0, script.output

    assert answers_of(script) == ANSWERS
    assert len(before) == 2, "of requests and of answers: the run that goes on needs them"
    assert provider.jobs.files == []
    assert len(provider.jobs.begun) == 1


@pytest.mark.parametrize(
    ("point", "victim"),
    [
        ("creating", "all"),
        ("creating", "worker"),
        ("created", "all"),
        ("created", "coordinator"),
        ("created", "worker"),
        ("looked", "coordinator"),
        ("looked", "worker"),
        ("results", "all"),
    ],
)
def test_whoever_dies_wherever_no_request_is_paid_for_twice(
    script: Script, provider: ProviderServer, point: Point, victim: str
) -> None:
    provider.jobs.stall(point)
    process = script.start()
    until(provider.jobs.stalled.is_set, "the request")
    kill(process.pid, victim)
    provider.jobs.go_on()

    if victim == "worker":
        assert process.wait(60) == 0, script.output
    else:
        assert process.wait(60) != 0
        assert script.run() == 0, script.output

    assert answers_of(script) == ANSWERS
    assert_each_was_computed_once(provider)
    assert [len(job.lines) for job in provider.jobs.begun] == [60]


@pytest.mark.parametrize("name", ["anthropic", "mistral"])
def test_a_job_that_was_begun_unheard_is_found_and_no_answer_is_used_twice(
    script: Script, provider: ProviderServer, name: str
) -> None:
    said = count()
    provider.says = lambda prompt: f"{prompt} {next(said)}"
    env = {"PROVIDER": name, "GENERATIONS": "2"}
    provider.jobs.stall("created")
    process = script.start(env=env)
    until(provider.jobs.stalled.is_set, "the request")
    kill(process.pid, "all")
    process.wait(60)
    provider.jobs.go_on()

    assert script.run(env=env) == 0, script.output

    given = [str(answer) for answer in answers_of(script)]
    assert [answer.rpartition(" ")[0] for answer in given] == [each for each in QUESTIONS for _ in range(2)]
    assert len(set(given)) == len(provider.answered) == 120


def kill(pid: int, victim: str) -> None:
    processes = family(pid)
    if victim == "all":
        kill_tree(pid)
        until(lambda: all_gone(processes), "the end of the run")
        return
    for process in of_kind(pid, victim):
        os.kill(process.pid, signal.SIGKILL)


def test_answers_that_were_read_are_not_read_again(script: Script, provider: ProviderServer) -> None:
    env = {"LLM": '{"offline_batch_generation_requests": 20}'}
    process = script.start(env=env)
    until(lambda: sum(job.over for job in provider.jobs.begun) == 1, "the first job is over")
    provider.jobs.hold()
    until(lambda: len(script.recorded()) >= 3, "its batches are recorded")
    kill(process.pid, "all")
    process.wait()
    provider.jobs.release()

    assert script.run(env=env) == 0, script.output

    assert answers_of(script) == ANSWERS
    assert_each_was_computed_once(provider)
    assert sum(len(job.lines) for job in provider.jobs.begun) == 60


def test_replicas_find_a_job_that_expired_while_nobody_looked(script: Script, provider: ProviderServer) -> None:
    provider.jobs.hold()
    process = script.start()
    until(lambda: provider.jobs.begun and jobs_in_ledger(script)[0][0], "the job is recorded")
    kill(process.pid, "all")
    process.wait()
    provider.jobs.end(provider.jobs.begun[0], "expired", after=25)
    provider.jobs.release()

    assert script.run(env={"REPLICAS": "2"}) == 0, script.output

    assert answers_of(script) == ANSWERS
    assert sum(len(job.lines) for job in provider.jobs.begun) == 60 + 35
    assert_each_was_computed_once(provider)


def test_a_stopped_run_leaves_its_jobs_and_the_next_one_finds_them(script: Script, provider: ProviderServer) -> None:
    provider.jobs.hold()
    with Terminal(script) as terminal:
        until(lambda: "batch job(s) at the provider" in terminal.shown, "the job")
        terminal.press_ctrl_c()
        assert terminal.process.wait(60) in (130, -signal.SIGINT)
    assert "1batchjobgoesonatitsprovider" in "".join(terminal.shown.split())
    assert [job.state for job in provider.jobs.begun] == ["running"]
    provider.jobs.release()

    assert script.run() == 0, script.output

    assert answers_of(script) == ANSWERS
    assert [len(job.lines) for job in provider.jobs.begun] == [60]
    assert_each_was_computed_once(provider)


def test_a_stopped_run_cancels_its_jobs_if_it_shall(script: Script, provider: ProviderServer) -> None:
    provider.jobs.hold()
    env = {"LLM": '{"offline_batch_generation_cancel_on_stop": true}'}
    with Terminal(script, **env) as terminal:
        until(lambda: "batch job(s) at the provider" in terminal.shown, "the job")
        provider.jobs.do_some(provider.jobs.begun[0], 25)
        terminal.press_ctrl_c()
        assert terminal.process.wait(60) in (130, -signal.SIGINT)
    assert "goes on at its provider" not in terminal.shown
    assert [job.state for job in provider.jobs.begun] == ["cancelled"]
    provider.jobs.release()

    assert script.run(env=env) == 0, script.output

    assert answers_of(script) == ANSWERS
    assert [len(job.lines) for job in provider.jobs.begun] == [60, 35], "what was done before is used"
    assert_each_was_computed_once(provider)


def test_a_run_without_the_cache_begins_anew(script: Script, provider: ProviderServer) -> None:
    assert script.run() == 0, script.output

    assert script.run(env={"RUN": '{"use_cache": false}'}) == 0, script.output

    assert [len(job.lines) for job in provider.jobs.begun] == [60, 60]
