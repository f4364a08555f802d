"""What holds for every provider over HTTP, against a server that speaks its API.

What a provider cannot do is in `distilmq.models.llms.abilities`: where the table says so, the same test asks for what
the table says happens instead, so that neither can change without the other.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from huggingface_hub.utils import set_async_client_factory
from huggingface_hub.utils._http import default_async_client_factory

from distilmq import models
from distilmq.errors import (
    DistilmqUserError,
    InvalidAnswerError,
    InvalidRequestError,
    RateLimitedError,
    RefusedError,
    StepFatalError,
    TransientError,
)
from distilmq.models import AsyncLLM
from distilmq.models.llms.abilities import PROVIDERS, Ability, provider
from tests.sdk.models.contract.subjects import SUBJECTS, Subject, asked_around, chat, image
from tests.servers.dialects import LIKELY, Question
from tests.servers.providers import KEY, Asked, Damage, ProviderServer

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
AGAIN = "cannot be used"
"""Words by which the model is told that it is asked again."""
AROUND = {0: ["You said: one"], 2: ["You said: three"]}
"""The answers to what was asked around the row that fails."""


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.name)
def subject(request: pytest.FixtureRequest) -> Subject:
    return request.param


@pytest.fixture
def server(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    if subject.name == "InferenceEndpointsLLM":
        # The tests are offline for the Hub's library, and its own client would keep even to this machine's servers.
        set_async_client_factory(httpx2.AsyncClient)
    with ProviderServer() as running:
        for name, value in running.env(tmp_path).items():
            monkeypatch.setenv(name, value)
        yield running
    if subject.name == "InferenceEndpointsLLM":
        set_async_client_factory(default_async_client_factory)


@pytest.fixture
def llm(subject: Subject, server: ProviderServer) -> Iterator[AsyncLLM]:
    model = subject.make(server.url)
    model.load()
    yield model
    model.unload()


@pytest.fixture
def once(subject: Subject, server: ProviderServer) -> Iterator[AsyncLLM]:
    """A model that asks once and waits for two seconds at most."""
    model = subject.make(server.url, max_retries=0, timeout=2)
    model.load()
    yield model
    model.unload()


def ask(llm: AsyncLLM, *inputs: Any, **kwargs: Any) -> list[Any]:
    return list(llm.generate_outputs(list(inputs), **{**llm.get_generation_kwargs(), **kwargs}))


# ---------------------------------------------------------------- what is asked arrives, what is answered comes back


def test_each_input_is_answered_in_its_place(llm: AsyncLLM, server: ProviderServer) -> None:
    outputs = ask(llm, chat("one"), chat("two words"))

    assert [output["generations"] for output in outputs] == [["You said: one"], ["You said: two words"]]
    assert sorted(server.prompts) == ["one", "two words"]


def test_tokens_are_counted(subject: Subject, llm: AsyncLLM) -> None:
    assert subject.can(Ability.TOKENS)

    [output] = ask(llm, chat("two words"))

    assert output["statistics"] == {"input_tokens": [2], "output_tokens": [4]}


@pytest.mark.parametrize("told", ["nothing", "no number"])
def test_tokens_that_it_does_not_tell_are_not_known(
    subject: Subject, once: AsyncLLM, server: ProviderServer, told: Literal["nothing", "no number"]
) -> None:
    llm, server.tells_tokens = once, told

    if subject.name == "MistralLLM" and told == "nothing":  # its own library takes that for no answer
        with pytest.raises(TransientError, match="sent no answer"):
            llm.generate_outputs([chat("one")])
        return
    [output] = llm.generate_outputs([chat("one")])
    usage = llm.usage_of(output, 0.0)

    assert output["generations"] == ["You said: one"]
    assert output["statistics"] == {"input_tokens": [None], "output_tokens": [None]}
    assert (usage.input_untold, usage.output_untold, usage.unpriced) == (1, 1, 1)


def test_several_answers_are_given(subject: Subject, llm: AsyncLLM, server: ProviderServer) -> None:
    [output] = ask(llm, chat("one"), num_generations=3)

    assert output["generations"] == ["You said: one"] * 3
    assert output["statistics"]["output_tokens"] == [3, 3, 3]
    assert len(server.asked) == (1 if subject.can(Ability.SEVERAL) else 3)


def test_what_the_system_says_arrives_as_such(subject: Subject, llm: AsyncLLM, server: ProviderServer) -> None:
    assert subject.can(Ability.SYSTEM)

    ask(llm, chat("one", system="Be brief."))

    question = asked_in(server, subject)
    assert (question.system, question.prompt) == ("Be brief.", "one")


def test_an_image_arrives_with_the_text(subject: Subject, llm: AsyncLLM, server: ProviderServer) -> None:
    assert subject.can(Ability.IMAGES)

    ask(llm, chat("What is it?", image(f"data:image/png;base64,{PIXEL}")))

    question = asked_in(server, subject)
    assert (question.prompt, question.images) == ("What is it?", (PIXEL,))


def test_an_image_arrives_by_its_address(subject: Subject, llm: AsyncLLM, server: ProviderServer) -> None:
    conversation = chat("What is it?", image("https://example.org/cat.png"))

    if subject.can(Ability.IMAGE_ADDRESSES):
        ask(llm, conversation)

        assert asked_in(server, subject).images == ("https://example.org/cat.png",)
    else:
        with pytest.raises(InvalidRequestError, match="data:"):
            ask(llm, conversation)

        assert server.asked == []


def test_a_schema_is_asked_for_in_the_providers_own_way(subject: Subject, server: ProviderServer) -> None:
    assert subject.can(Ability.SCHEMA)
    server.says = lambda prompt: '{"name": "Ada"}'
    llm = subject.make(server.url, structured_output={"format": "json", "schema": SCHEMA})
    llm.load()

    [output] = ask(llm, chat("Who?"))

    llm.unload()
    assert json.loads(output["generations"][0]) == {"name": "Ada"}
    assert asked_in(server, subject).schema == SCHEMA


def test_an_input_may_bring_a_schema_of_its_own(subject: Subject, llm: AsyncLLM, server: ProviderServer) -> None:
    server.says = lambda prompt: '{"name": "Ada"}'

    ask(llm, (chat("Who?"), {"format": "json", "schema": SCHEMA}))

    assert asked_in(server, subject).schema == SCHEMA


def test_an_answer_without_the_shape_is_asked_for_again_with_what_is_wrong(
    subject: Subject, server: ProviderServer
) -> None:
    server.says = lambda prompt: '{"name": "Ada"}' if AGAIN in prompt else '{"nom": "Ada"}'
    llm = subject.make(server.url, structured_output={"schema": SCHEMA})
    llm.load()

    [output] = ask(llm, chat("Who?"))

    llm.unload()
    first, second = server.asked
    assert output["generations"] == ['{"name": "Ada"}']
    assert first.prompt == "Who?"
    assert "'name' is a required property" in second.prompt
    assert json.dumps('{"nom": "Ada"}')[1:-1] in json.dumps(second.body), "what the model said is in the conversation"
    assert "Who?" in json.dumps(second.body)
    assert read_back(second, subject).schema == SCHEMA


@pytest.mark.parametrize("malformed", ['{"name": "Ada"', "It is Ada.", '{"name": NaN}'])
def test_an_answer_that_is_no_json_is_asked_for_again(subject: Subject, server: ProviderServer, malformed: str) -> None:
    server.says = lambda prompt: '{"name": "Ada"}' if AGAIN in prompt else malformed
    llm = subject.make(server.url, structured_output={"schema": SCHEMA})
    llm.load()

    [output] = ask(llm, chat("Who?"))

    llm.unload()
    assert output["generations"] == ['{"name": "Ada"}']
    assert len(server.asked) == 2


def test_an_answer_that_never_gets_its_shape_fails_its_row_alone(subject: Subject, server: ProviderServer) -> None:
    server.says = lambda prompt: '{"nom": 1}' if "bad" in prompt or AGAIN in prompt else '{"name": "Ada"}'
    llm = subject.make(server.url, structured_output={"schema": SCHEMA})
    llm.load()

    answers, error = asked_around(llm, **llm.get_generation_kwargs())

    llm.unload()
    assert (answers[0], answers[2]) == (['{"name": "Ada"}'], ['{"name": "Ada"}'])
    assert isinstance(error, InvalidAnswerError)
    assert "'name' is a required property" in str(error)
    assert (error.answer, error.attempts) == ('{"nom": 1}', 3)
    assert len(server.asked) == 2 + 3


def test_of_several_answers_only_those_without_the_shape_are_asked_for_again(
    subject: Subject, server: ProviderServer
) -> None:
    said = iter(['{"name": "Ada"}', "Ada obviously", '{"name": "Eve"}', '{"name": "Bob"}'])
    server.says = lambda prompt: next(said)
    llm = subject.make(server.url, structured_output={"schema": SCHEMA})
    llm.load()

    [output] = ask(llm, chat("Who?"), num_generations=3)

    llm.unload()
    assert sorted(output["generations"]) == ['{"name": "Ada"}', '{"name": "Bob"}', '{"name": "Eve"}']
    assert output["statistics"]["output_tokens"] == [2, 2, 2]
    assert len(server.asked) == (2 if subject.can(Ability.SEVERAL) else 4)


def test_log_probabilities_come_with_the_answer(subject: Subject, llm: AsyncLLM, server: ProviderServer) -> None:
    if subject.can(Ability.LOGPROBS):
        [output] = ask(llm, chat("one"), logprobs=True)

        assert output["logprobs"] == [[[{"token": word, "logprob": LIKELY}] for word in ("You", "said:", "one")]]
    else:
        with pytest.raises(DistilmqUserError, match=r"name \['logprobs'\]"):
            subject.make(server.url, generation_kwargs={"logprobs": True}).load()


def test_max_new_tokens_is_the_providers_own_bound(subject: Subject, llm: AsyncLLM, server: ProviderServer) -> None:
    ask(llm, chat("one"), max_new_tokens=7)

    assert asked_in(server, subject).most_tokens == 7


def test_bare_text_is_continued(subject: Subject, llm: AsyncLLM, server: ProviderServer) -> None:
    [output] = ask(llm, "Once upon")

    [asked] = server.asked
    assert output["generations"] == ["You said: Once upon"]
    assert ("messages" in asked.body or "contents" in asked.body) != subject.can(Ability.TEXT)


# ---------------------------------------------------------------- errors: of one row, of all, and passing ones


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_invalid_request_fails_its_row_alone(llm: AsyncLLM, server: ProviderServer, status: int) -> None:
    server.fail("bad", status=status, message="the prompt is too long")

    answers, error = asked_around(llm, **llm.get_generation_kwargs())

    assert answers == AROUND
    assert isinstance(error, InvalidRequestError)
    assert "the prompt is too long" in str(error)
    assert Counter(server.prompts) == {"one": 1, "bad": 1, "three": 1}


def test_a_refused_prompt_fails_its_row_alone(llm: AsyncLLM, server: ProviderServer) -> None:
    server.fail("bad", status=400, message="blocked by the content_filter", code="content_filter")

    answers, error = asked_around(llm, **llm.get_generation_kwargs())

    assert answers == AROUND
    assert isinstance(error, RefusedError)
    assert Counter(server.prompts) == {"one": 1, "bad": 1, "three": 1}


def test_a_refused_answer_fails_its_row_alone(subject: Subject, llm: AsyncLLM, server: ProviderServer) -> None:
    told_apart = subject.can(Ability.REFUSALS)
    refusal = None if told_apart else "I would rather not."
    server.says = lambda prompt: f"You said: {prompt}" if prompt != "bad" else refusal

    if told_apart:
        answers, error = asked_around(llm, **llm.get_generation_kwargs())

        assert answers == AROUND
        assert isinstance(error, RefusedError)
        assert "refuses this content" in str(error)
    else:
        [output] = ask(llm, chat("bad"))

        assert output["generations"] == [refusal]
        assert not subject.dialect.refuses
    assert server.prompts.count("bad") == 1


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, None, "Incorrect API key"),
        (403, None, "Country not supported"),
        (404, None, "The model does not exist"),
        (429, "insufficient_quota", "You exceeded your current insufficient_quota"),
    ],
)
def test_what_no_request_survives_ends_the_step_with_the_providers_words(
    llm: AsyncLLM, server: ProviderServer, status: int, code: str | None, words: str
) -> None:
    server.fail("", status=status, code=code, message=words)

    with pytest.raises(StepFatalError, match=words):
        ask(llm, chat("one"))

    assert len(server.asked) == 1


def test_a_wrong_key_ends_the_step(subject: Subject, server: ProviderServer) -> None:
    if subject.dialect.key_header is None or subject.name == "VertexAILLM":
        assert subject.key in (None, "GOOGLE_APPLICATION_CREDENTIALS")  # there is no key that could be wrong
        return
    given = {"generation_kwargs": {"api_key": "hf_wrong"}} if subject.key is None else {"api_key": "hf_wrong"}
    llm = subject.make(server.url, **given)
    llm.load()

    with pytest.raises(StepFatalError, match="Incorrect API key"):
        ask(llm, chat("one"))

    llm.unload()


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 529])
def test_a_passing_fault_is_tried_again(llm: AsyncLLM, server: ProviderServer, status: int) -> None:
    server.fail("one", status=status, retry_after=0.01, times=1)

    [output] = ask(llm, chat("one"))

    assert output["generations"] == ["You said: one"]
    assert server.prompts == ["one", "one"]


def test_a_rate_limited_request_waits_as_long_as_it_is_told(llm: AsyncLLM, server: ProviderServer) -> None:
    server.fail("one", status=429, retry_after=0.3, times=1)

    [output] = ask(llm, chat("one"))

    first, second = server.asked
    assert output["generations"] == ["You said: one"]
    assert second.at - first.at >= 0.3


def test_it_gives_up_after_so_many_retries(subject: Subject, server: ProviderServer) -> None:
    server.fail("bad", status=503, retry_after=0.01, message="too busy today")
    llm = subject.make(server.url, max_retries=2)
    llm.load()

    answers, error = asked_around(llm, **llm.get_generation_kwargs())

    llm.unload()
    assert answers == AROUND
    assert isinstance(error, TransientError)
    assert "too busy today" in str(error)
    assert Counter(server.prompts) == {"one": 1, "bad": 3, "three": 1}


def test_a_limit_that_stays_is_an_error_that_says_so(once: AsyncLLM, server: ProviderServer) -> None:
    server.fail("bad", status=429, retry_after=17, message="slow down")

    answers, error = asked_around(once, **once.get_generation_kwargs())

    assert answers == AROUND
    assert isinstance(error, RateLimitedError)
    assert (error.retry_after, "slow down" in str(error)) == (17, True)


@pytest.mark.parametrize("damage", ["hang up", "cut short", "malformed", "page", "no choice"])
def test_a_damaged_answer_is_a_passing_fault_of_its_row(
    subject: Subject, once: AsyncLLM, server: ProviderServer, damage: Damage
) -> None:
    server.damage("bad", damage)

    answers, error = asked_around(once, **once.get_generation_kwargs())

    assert answers == AROUND
    assert isinstance(error, TransientError)
    assert once.model_name in str(error)
    if subject.name != "LiteLLM":  # which tells in its own words alone
        assert (error.answer is not None) == (damage not in ("hang up", "cut short")), "what was sent is told"
    assert Counter(server.prompts) == {"one": 1, "bad": 1, "three": 1}


def test_a_damaged_answer_is_asked_for_again(llm: AsyncLLM, server: ProviderServer) -> None:
    server.damage("one", "cut short", times=1)

    [output] = ask(llm, chat("one"))

    assert output["generations"] == ["You said: one"]
    assert server.prompts == ["one", "one"]


def test_an_answer_that_takes_too_long_is_a_passing_fault_of_its_row(subject: Subject, server: ProviderServer) -> None:
    server.damage("bad", "silence")
    llm = subject.make(server.url, max_retries=0, timeout=1)
    llm.load()

    answers, error = asked_around(llm, **llm.get_generation_kwargs())

    llm.unload()
    assert answers == AROUND
    assert isinstance(error, TransientError)


# ---------------------------------------------------------------- keys, and what travels


def test_without_a_key_it_says_what_to_set(
    subject: Subject, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if subject.name in ("ClientvLLM", "InferenceEndpointsLLM", "VertexAILLM") or subject.key is None:
        return  # a server of one's own may need none, Google's are not in a variable, LiteLLM's are its own matter
    monkeypatch.delenv(subject.key)

    with pytest.raises(DistilmqUserError, match=f"`{subject.key}`"):
        subject.make(server.url).load()


def test_a_loaded_model_travels_without_its_client(llm: AsyncLLM) -> None:
    ask(llm, chat("one"))

    copy = pickle.loads(pickle.dumps(llm))

    copy.load()
    assert ask(copy, chat("two"))[0]["generations"] == ["You said: two"]
    copy.unload()


def test_a_dump_holds_no_key(subject: Subject, server: ProviderServer) -> None:
    given = {"api_key": KEY} if "api_key" in subject.cls.model_fields else {}
    llm = subject.cls(**subject.fields(server.url), **given)

    assert KEY not in json.dumps(llm.dump())


def test_a_dump_makes_the_same_model(subject: Subject, server: ProviderServer) -> None:
    llm = subject.cls(**subject.fields(server.url))

    copy = subject.cls.from_dict(llm.dump())

    assert copy.dump() == llm.dump()


# ---------------------------------------------------------------- the table


def test_the_table_names_every_provider_over_http() -> None:
    offered = [cls for name in models.__all__ if issubclass(cls := getattr(models, name), AsyncLLM)]
    over_http = {cls.__name__ for cls in offered if "timeout" in cls.model_fields} | {"LiteLLM"}

    assert {row.llm for row in PROVIDERS} == over_http


def test_the_tables_variables_are_those_that_the_classes_read(
    subject: Subject, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = provider(subject.name)
    address = row.address if row.address not in (None, "OLLAMA_HOST", "OPENAI_BASE_URL") else None
    if address is not None:
        monkeypatch.setenv(address, "http://elsewhere/v1")

        made = subject.cls(**subject.fields(server.url))

        assert "http://elsewhere/v1" in (getattr(made, "base_url", None), getattr(made, "endpoint", None))


def asked_in(server: ProviderServer, subject: Subject) -> Any:
    """The only request, read back by the provider's dialect."""
    [asked] = server.asked
    return read_back(asked, subject)


def read_back(asked: Asked, subject: Subject) -> Question:
    """A request, read by the provider's dialect."""
    return subject.dialect.question(asked.body, {"rest": asked.model, "model": asked.model})
