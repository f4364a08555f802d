"""Every provider's batch jobs, against a server that speaks its API: what comes back, what fails, what is found."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from distilmq.errors import (
    DistilmqUserError,
    InvalidRequestError,
    RefusedError,
    RequestsFailedError,
    StepFatalError,
    TransientError,
)
from distilmq.models import AnthropicLLM, MistralLLM, MixtureOfAgentsLLM, OpenAILLM
from distilmq.models.batches.jobs import Found, Line, Results, custom_id
from distilmq.models.batches.provider import BatchProvider
from tests.servers.providers import Asked, ProviderServer

T = TypeVar("T")

CLASSES: dict[str, Any] = {"openai": OpenAILLM, "anthropic": AnthropicLLM, "mistral": MistralLLM}
TEXTS = [f"question {number}." for number in range(6)]
ANSWERS = [[f"You said: {text}"] for text in TEXTS]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        for name, value in running.env(tmp_path).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture(params=list(CLASSES))
def llm(request: pytest.FixtureRequest, server: ProviderServer) -> Iterator[Any]:
    made = model(request.param)
    yield made
    made.unload()


@pytest.fixture
def openai(server: ProviderServer) -> Iterator[Any]:
    made = model("openai")
    yield made
    made.unload()


def model(name: str, **more: Any) -> Any:
    often = {"offline_batch_generation_block_until_done": 1, "max_retries": 2}
    made = CLASSES[name](model="m", **{"use_offline_batch_generation": True, **often, **more})
    made.load()
    return made


def ask(llm: Any, **arguments: Any) -> list[list[str | None]]:
    outputs = llm.generate_outputs([[{"role": "user", "content": text}] for text in TEXTS], **arguments)
    return [output["generations"] for output in outputs]


def sizes(server: ProviderServer) -> list[int]:
    return [len(job.lines) for job in server.jobs.begun]


# ---------------------------------------------------------------- asking


def test_requests_of_one_call_are_one_job_with_the_body_that_they_have_alone(llm: Any, server: ProviderServer) -> None:
    together = ask(llm, max_new_tokens=7, temperature=0.5)
    alone = model(server.asked[0].provider, use_offline_batch_generation=False)
    ask(alone, max_new_tokens=7, temperature=0.5)
    alone.unload()

    assert together == ANSWERS
    assert sizes(server) == [6]
    assert bodies(server.asked[:6]) == bodies(sorted(server.asked[6:], key=lambda asked: asked.prompt))
    assert llm.jobs_ids == (server.jobs.begun[0].id,)


def bodies(asked: Iterable[Asked]) -> list[dict[str, Any]]:
    """What was sent, but for `stream=False`, which Mistral's library says to each single request."""
    return [{name: value for name, value in each.body.items() if name != "stream"} for each in asked]


def test_a_shape_and_a_system_message_arrive(llm: Any, server: ProviderServer) -> None:
    server.says = lambda text: '{"a": "b"}'
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]

    llm.generate_outputs([(chat, {"format": "json", "schema": schema})])

    [asked] = server.asked
    assert "be brief" in str(asked.body)
    assert "'a'" in str(asked.body)


def test_more_requests_than_a_job_takes_are_several_jobs(openai: Any, server: ProviderServer) -> None:
    openai.offline_batch_generation_requests = 1000
    texts = [f"question {number}." for number in range(2600)]

    outputs = openai.generate_outputs([[{"role": "user", "content": text}] for text in texts])

    assert [output["generations"] for output in outputs] == [[f"You said: {text}"] for text in texts]
    # Where they come slowly, a job that is not full goes first.
    assert (sum(sizes(server)), max(sizes(server))) == (2600, 1000)
    assert len(sizes(server)) >= 3
    assert len(server.answered) == 2600


def test_an_answer_without_its_shape_is_asked_for_again_in_another_job(llm: Any, server: ProviderServer) -> None:
    server.says = lambda text: "none" if text in ("question 1.", "question 4.") else '{"a": "b"}'
    llm.structured_output = {"schema": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}

    assert ask(llm) == [['{"a": "b"}']] * 6
    assert sizes(server) == [6, 2]
    assert sum("cannot be used" in asked.prompt for asked in server.asked) == 2


def test_models_that_answer_together_are_asked_through_jobs_of_their_own(server: ProviderServer) -> None:
    def of(name: str) -> Any:
        often = {"use_offline_batch_generation": True, "offline_batch_generation_block_until_done": 1}
        return CLASSES[name](model=name, **often)

    mixture = MixtureOfAgentsLLM(aggregator_llm=of("openai"), proposers_llms=[of("mistral"), of("anthropic")])
    mixture.load()

    assert ask(mixture) == ANSWERS

    mixture.unload()
    jobs = [(job.provider, len(job.lines)) for job in server.jobs.begun]
    assert sorted(jobs[:2]) == [("anthropic", 6), ("mistral", 6)]
    assert jobs[2:] == [("openai", 6)]


def test_what_a_job_did_not_come_to_goes_into_another_one(llm: Any, server: ProviderServer) -> None:
    server.jobs.next_ends("expired", after=4)

    assert ask(llm) == ANSWERS
    assert sizes(server) == [6, 2]


def test_what_fails_for_good_fails_alone_and_a_passing_fault_is_tried_again(llm: Any, server: ProviderServer) -> None:
    server.fail("question 1.", status=400, message="this is no question", code="invalid_request_error")
    server.fail("question 2.", status=529, code="overloaded_error", times=1)
    server.fail("question 3.", status=500, code="api_error")

    with pytest.raises(RequestsFailedError) as raised:
        ask(llm)

    failures = raised.value.failures
    assert {place: type(error) for place, error in failures.items()} == {1: InvalidRequestError, 3: TransientError}
    assert "this is no question" in str(failures[1])
    assert [getattr(failures[place], "attempts", None) for place in (1, 3)] == [1, 3]
    assert sizes(server) == [6, 2, 1]


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_refusal_is_one_in_a_job_too(server: ProviderServer, name: str) -> None:
    server.says = lambda text: None if text == "question 4." else "fine"
    llm = model(name)

    with pytest.raises(RequestsFailedError) as raised:
        ask(llm)
    llm.unload()

    assert {place: type(error) for place, error in raised.value.failures.items()} == {4: RefusedError}


def test_a_wrong_key_ends_the_run(openai: Any, server: ProviderServer) -> None:
    server.fail("question 5.", status=401, message="Incorrect API key")

    with pytest.raises(StepFatalError, match="Incorrect API key"):
        ask(openai)


def test_a_job_that_is_refused_is_sent_in_halves_until_its_cause_is_found(llm: Any, server: ProviderServer) -> None:
    server.jobs.refused = "question 4."

    with pytest.raises(RequestsFailedError) as raised:
        ask(llm)

    assert list(raised.value.failures) == [4]
    assert sum(sizes(server)) == 5


def test_a_job_that_was_begun_before_its_provider_broke_is_not_begun_again(llm: Any, server: ProviderServer) -> None:
    server.jobs.breaks = 1

    assert ask(llm) == ANSWERS
    assert sizes(server) == [6]


def test_a_job_without_room_in_the_queue_is_sent_in_smaller_ones(openai: Any, server: ProviderServer) -> None:
    server.jobs.next_ends("failed", code="token_limit_exceeded", reason="Enqueued token limit reached")

    assert ask(openai) == ANSWERS
    assert sizes(server) == [6, 3, 3]


@pytest.mark.parametrize("name", ["openai", "mistral"])
def test_a_job_that_fails_as_a_whole_ends_the_run_with_the_providers_words(server: ProviderServer, name: str) -> None:
    server.jobs.next_ends("failed", code="invalid_model", reason="There is no such model")
    llm = model(name)

    with pytest.raises(StepFatalError, match="There is no such model"):
        ask(llm)
    llm.unload()


def test_a_bound_on_requests_is_kept(server: ProviderServer) -> None:
    llm = model("openai", offline_batch_generation_requests=4)

    assert ask(llm) == ANSWERS
    llm.unload()

    assert sorted(sizes(server)) == [2, 4]


def test_batch_jobs_have_to_be_wanted(server: ProviderServer) -> None:
    llm = OpenAILLM(model="m")

    with pytest.raises(DistilmqUserError, match="make it with `use_offline_batch_generation=True`"):
        llm.offline_batch_generate([[{"role": "user", "content": "hello"}]])


def test_a_model_that_is_not_loaded_says_so(server: ProviderServer) -> None:
    with pytest.raises(DistilmqUserError, match="call `load\\(\\)` first"):
        ask(OpenAILLM(model="m", use_offline_batch_generation=True))


# ---------------------------------------------------------------- the provider's jobs themselves


def with_provider(llm: Any, use: Callable[[BatchProvider], Awaitable[T]]) -> T:
    """Uses a model's provider on the model's loop."""
    return llm._own_channel().loop.run(use(llm._batch_provider()))


def lines(job: str, llm: Any) -> list[Line]:
    messages = [{"role": "user", "content": "hello"}]
    body = {"model": "m", "messages": messages, "max_tokens": 9}
    return [Line(custom_id(job, number), "/v1/chat/completions", body) for number in range(4)]


def test_a_cancelled_job_gives_what_it_had_done(llm: Any, server: ProviderServer) -> None:
    async def use(provider: BatchProvider) -> tuple[bool, Results]:
        id = await provider.start("a1", lines("a1", llm))
        before = await provider.look(id)
        server.jobs.do_some(server.jobs.begun[0], 3)
        await provider.cancel(id)
        await provider.cancel(id)
        return before.over, await provider.results("a1", await provider.look(id))

    server.jobs.hold()
    before, results = with_provider(llm, use)

    assert not before
    assert (sorted(results.outcomes), results.rest) == ([0, 1, 2], None)


def test_a_job_that_the_provider_knows_no_more_is_sent_again(llm: Any) -> None:
    async def use(provider: BatchProvider) -> Results:
        look = await provider.look("job-of-last-year")
        assert look.over
        return await provider.results("a1", look)

    assert with_provider(llm, use) == Results({})


def test_a_job_is_found_by_its_name_among_others(llm: Any, server: ProviderServer) -> None:
    planned = time.time()

    async def use(provider: BatchProvider) -> list[Found]:
        for job in ("a1", "a2", "a3"):
            await provider.start(job, lines(job, llm))
        return [await provider.find(job, planned=planned, size=4, known=()) for job in ("a2", "a9")]

    found = with_provider(llm, use)

    assert found == [Found(server.jobs.begun[1].id), Found(None)]


def test_a_batch_without_a_name_is_only_known_when_it_is_over(server: ProviderServer) -> None:
    llm = model("anthropic")
    server.jobs.hold()

    async def use(provider: BatchProvider) -> list[Found]:
        other = await provider.start("a1", lines("a1", llm)[:2])
        ours = await provider.start("a2", lines("a2", llm))
        asked: list[dict[str, Any]] = [
            {"size": 4, "known": ()},
            {"size": 4, "known": (ours,)},
            {"size": 3, "known": (other,)},
        ]
        planned = time.time()
        return [
            *[await provider.find("a2", planned=planned, **more) for more in asked],
            await provider.find("a2", planned=planned + 3600, size=4, known=()),
        ]

    found = with_provider(llm, use)
    llm.unload()

    assert found == [Found(None, sure=False), Found(None), Found(None), Found(None)]


def test_files_of_a_job_are_deleted_and_no_more_the_second_time(llm: Any, server: ProviderServer) -> None:
    server.fail("hello", status=400, times=1)

    async def use(provider: BatchProvider) -> tuple[list[str], list[str]]:
        id = await provider.start("a1", lines("a1", llm))
        look = await provider.look(id)
        await provider.results("a1", look)
        before = server.jobs.files
        await provider.tidy(look)
        await provider.tidy(look)
        await provider.tidy(await provider.look("job-of-last-year"))
        return before, server.jobs.files

    before, after = with_provider(llm, use)

    assert len(before) == (0 if isinstance(llm, AnthropicLLM) else 3), "of requests, answers and errors"
    assert after == []


def test_nothing_is_deleted_where_nobody_says_what_is_recorded(openai: Any, server: ProviderServer) -> None:
    ask(openai)

    assert len(server.jobs.files) == 2
