"""Of several answers to an input, one that fails takes none along, and the row's error tells why it failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from distilmq.errors import RefusedError, RequestError, RequestsFailedError, TransientError
from distilmq.models import AnthropicLLM, AsyncLLM, CohereLLM, MistralLLM, OpenAILLM
from distilmq.models.requests.answers import current_answers
from distilmq.steps.remarks import Remarks, current_remarks
from distilmq.steps.tasks import TextGeneration
from distilmq.typing import Row
from distilmq_workers.book import BatchAnswers
from tests.servers.dialects import LIKELY
from tests.servers.providers import ProviderServer

NATIVE = OpenAILLM
"""Gives all answers to one request."""
EACH = AnthropicLLM
"""Is asked for each answer by itself."""


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def saying(*answers: str | None) -> Callable[[str], str | None]:
    left = iter(answers)
    return lambda prompt: next(left)


def ask(llm: AsyncLLM, *inputs: Any, **kwargs: Any) -> list[Any]:
    llm.load()
    try:
        return list(llm.generate_outputs(list(inputs), **kwargs))
    finally:
        llm.unload()


def processed(llm: AsyncLLM, *, grouped: bool) -> tuple[list[Row], Remarks]:
    """What a task with three generations makes of one row, and what it remarks."""
    task = TextGeneration(name="say", llm=llm, num_generations=3, group_generations=grouped)
    remarks = Remarks()
    token = current_remarks.set(remarks)
    task.load()
    try:
        return [row for rows in task.process([{"instruction": "one"}]) for row in rows], remarks
    finally:
        task.unload()
        current_remarks.reset(token)


@pytest.mark.parametrize("make", [NATIVE, EACH])
def test_a_refused_one_is_none_with_its_error_and_the_others_are_kept(
    provider_server: ProviderServer, make: type[OpenAILLM | AnthropicLLM]
) -> None:
    provider_server.says = saying("a", None, "c")

    [output] = ask(make(model="m", max_concurrency=1), chat("one"), num_generations=3)

    assert output["generations"] == ["a", None, "c"]
    assert [type(error) for error in output["errors"]] == [type(None), RefusedError, type(None)]
    assert "refuses this content" in str(output["errors"][1])
    assert "unanswered" not in output


def test_a_refusal_among_others_tells_what_was_said(provider_server: ProviderServer) -> None:
    provider_server.says = saying("a", None)

    [output] = ask(OpenAILLM(model="m"), chat("one"), num_generations=2)

    assert output["errors"][1].answer == "I would rather not."
    assert "I would rather not." in str(output["errors"][1])


@pytest.mark.parametrize("make", [NATIVE, EACH])
def test_where_all_are_refused_the_row_fails(
    provider_server: ProviderServer, make: type[OpenAILLM | AnthropicLLM]
) -> None:
    provider_server.says = saying(None, None, None, "d", "e", "f")

    with pytest.raises(RequestsFailedError) as caught:
        ask(make(model="m", max_concurrency=1), chat("one"), chat("two"), num_generations=3)

    assert {place: type(error) for place, error in caught.value.failures.items()} == {0: RefusedError}


def test_one_that_does_not_come_takes_none_along(provider_server: ProviderServer) -> None:
    provider_server.fail("one", status=500, times=1)

    [output] = ask(EACH(model="m", max_concurrency=1, max_retries=0), chat("one"), num_generations=3)

    assert output["generations"] == [None, "You said: one", "You said: one"]
    assert isinstance(output["errors"][0], TransientError)
    assert len(provider_server.asked) == 3


@pytest.mark.parametrize("make", [NATIVE, CohereLLM])
def test_log_probabilities_stay_with_the_answers_that_they_are_of(
    provider_server: ProviderServer, make: type[OpenAILLM | CohereLLM]
) -> None:
    provider_server.says = saying(None, "a", "b")

    [output] = ask(make(model="m", max_concurrency=1), chat("one"), num_generations=3, logprobs=True)

    assert output["generations"] == [None, "a", "b"]
    refused, *others = output["logprobs"]
    assert not refused
    assert others == [[[{"token": "a", "logprob": LIKELY}]], [[{"token": "b", "logprob": LIKELY}]]]


def test_what_was_not_given_is_recorded_as_such(provider_server: ProviderServer) -> None:
    provider_server.says = saying("a", None)
    book = BatchAnswers((), keep=lambda *_: None, draining=lambda: False)
    token = current_answers.set(book.page([0]))
    try:
        [first] = ask(OpenAILLM(model="m"), chat("one"), num_generations=2)
        current_answers.set(book.page([0]))
        [again] = ask(OpenAILLM(model="m"), chat("one"), num_generations=2)
    finally:
        current_answers.reset(token)

    assert len(provider_server.asked) == 1
    assert again["generations"] == first["generations"] == ["a", None]
    assert [str(error) for error in again["errors"]] == [str(error) for error in first["errors"]]


def test_one_without_text_tells_why_the_model_stopped(provider_server: ProviderServer) -> None:
    provider_server.says = saying(None)

    [output] = ask(MistralLLM(model="m"), chat("one"))

    [error] = output["errors"]
    assert type(error) is RequestError
    assert str(error) == "'m' gave no answer: its finish reason is 'content_filter'"


@pytest.mark.parametrize("make", [NATIVE, EACH])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_task_tells_of_the_refused_one_in_the_metadata_and_the_dead_letters(
    provider_server: ProviderServer, make: type[OpenAILLM | AnthropicLLM], grouped: bool
) -> None:
    provider_server.says = saying("a", None, "c")

    rows, remarks = processed(make(model="m", max_concurrency=1), grouped=grouped)

    if grouped:
        [row] = rows
        assert row["generation"] == ["a", None, "c"]
        told = row["distilmq_metadata"]["generation_errors_say"]
    else:
        assert [row["generation"] for row in rows] == ["a", None, "c"]
        told = [row["distilmq_metadata"].get("error_say") for row in rows]
    assert [error and error.partition(":")[0] for error in told] == [None, "RefusedError", None]
    assert [type(failed.error) for failed in remarks.failed.values()] == [RefusedError]
