"""`OpenAILLM` over HTTP, against a server that speaks OpenAI's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from distilmq.errors import (
    DistilmqUserError,
    InvalidRequestError,
    RefusedError,
    RequestsFailedError,
    StepFatalError,
    TransientError,
)
from distilmq.models import OpenAILLM
from tests.servers.providers import KEY, ProviderServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{running.url}/openai/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield running


@pytest.fixture
def llm(server: ProviderServer) -> Iterator[OpenAILLM]:
    model = OpenAILLM(model="gpt-4-0125-preview")
    model.load()
    yield model
    model.unload()


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def test_it_answers_each_conversation_in_its_place(llm: OpenAILLM) -> None:
    outputs = llm.generate_outputs([chat("one"), chat("two words")])

    assert outputs == [
        {"generations": ["You said: one"], "statistics": {"input_tokens": [1], "output_tokens": [3]}},
        {"generations": ["You said: two words"], "statistics": {"input_tokens": [2], "output_tokens": [4]}},
    ]


def test_it_sends_what_it_was_told_to(llm: OpenAILLM, server: ProviderServer) -> None:
    llm.generate_outputs([chat("one")], max_new_tokens=7, temperature=0.3, top_p=0.9, stop=["."])

    [asked] = server.asked
    assert asked.body == {
        "model": "gpt-4-0125-preview",
        "messages": chat("one"),
        "max_tokens": 7,
        "temperature": 0.3,
        "top_p": 0.9,
        "stop": ["."],
        "n": 1,
    }


def test_openai_itself_is_sent_the_new_name_of_the_bound() -> None:
    assert OpenAILLM(model="o3", base_url="https://api.openai.com/v1")._max_tokens_name() == "max_completion_tokens"


@pytest.mark.parametrize(("url", "strict"), [("https://api.openai.com/v1", True), ("http://localhost:8000/v1", False)])
def test_only_openai_itself_is_asked_to_be_strict(url: str, strict: bool) -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}

    shape = OpenAILLM(model="m", base_url=url)._response_format({"schema": schema})

    assert shape is not None
    assert shape["json_schema"].get("strict", False) is strict


def test_several_generations_are_one_request(llm: OpenAILLM, server: ProviderServer) -> None:
    [output] = llm.generate_outputs([chat("one")], num_generations=3)

    assert output["generations"] == ["You said: one"] * 3
    assert output["statistics"] == {"input_tokens": [1], "output_tokens": [3, 3, 3]}
    assert len(server.asked) == 1


def test_a_text_is_continued(llm: OpenAILLM, server: ProviderServer) -> None:
    [output] = llm.generate_outputs(["Once upon"], max_new_tokens=4)

    assert output["generations"] == ["You said: Once upon"]
    assert server.asked[0].body["max_tokens"] == 4


def test_log_probabilities_come_with_the_generations(llm: OpenAILLM) -> None:
    [output] = llm.generate_outputs([chat("one")], logprobs=True)

    assert output.get("logprobs") == [[[{"token": word, "logprob": -0.5}] for word in ("You", "said:", "one")]]


def test_a_schema_is_asked_for_in_openais_own_way(server: ProviderServer) -> None:
    class City(BaseModel):
        name: str

    server.says = lambda prompt: '{"name": "Ulm"}'
    llm = OpenAILLM(model="m", structured_output={"format": "json", "schema": City})
    llm.load()

    llm.generate_outputs([chat("one")])

    llm.unload()
    shape = server.asked[0].body["response_format"]
    assert shape == {"type": "json_schema", "json_schema": {"name": "City", "schema": City.model_json_schema()}}


def test_a_failing_request_does_not_touch_its_neighbours(llm: OpenAILLM, server: ProviderServer) -> None:
    server.fail("bad", status=400, message="no such parameter")

    with pytest.raises(RequestsFailedError) as caught:
        llm.generate_outputs([chat("one"), chat("bad"), chat("three")])

    assert list(caught.value.failures) == [1]
    assert isinstance(caught.value.failures[1], InvalidRequestError)
    assert "no such parameter" in str(caught.value)
    assert sorted(server.prompts) == ["bad", "one", "three"]


def test_a_rate_limited_request_waits_as_long_as_it_is_told(llm: OpenAILLM, server: ProviderServer) -> None:
    server.fail("one", status=429, retry_after=0.05, times=2)

    [output] = llm.generate_outputs([chat("one")])

    assert output["generations"] == ["You said: one"]
    assert len(server.asked) == 3


def test_a_passing_fault_is_tried_again(llm: OpenAILLM, server: ProviderServer) -> None:
    server.fail("one", status=503, retry_after=0.01, times=1)

    [output] = llm.generate_outputs([chat("one")])

    assert output["generations"] == ["You said: one"]


def test_it_gives_up_after_so_many_retries(server: ProviderServer) -> None:
    server.fail("one", status=500, retry_after=0.01)
    llm = OpenAILLM(model="m", max_retries=2)
    llm.load()

    with pytest.raises(TransientError, match="told to fail"):
        llm.generate_outputs([chat("one")])

    llm.unload()
    assert len(server.asked) == 3


def test_a_cut_connection_is_a_passing_fault(server: ProviderServer) -> None:
    server.fail("one", hang_up=True)
    llm = OpenAILLM(model="m", max_retries=0)
    llm.load()

    with pytest.raises(TransientError, match="'m' at http"):
        llm.generate_outputs([chat("one")])

    llm.unload()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "invalid_api_key", "Incorrect API key provided: sk-1"),
        (403, None, "Country not supported"),
        (404, "model_not_found", "The model `m` does not exist"),
        (429, "insufficient_quota", "You exceeded your current quota"),
    ],
)
def test_what_no_request_survives_ends_the_run(
    llm: OpenAILLM, server: ProviderServer, status: int, code: str | None, words: str
) -> None:
    server.fail("", status=status, code=code, message=words)

    with pytest.raises(StepFatalError, match=words):
        llm.generate_outputs([chat("one"), chat("two")])


def test_a_refusal_is_an_error_with_the_models_words(llm: OpenAILLM, server: ProviderServer) -> None:
    server.says = lambda prompt: None

    with pytest.raises(RefusedError, match="I would rather not"):
        llm.generate_outputs([chat("one")])


def test_one_refusal_among_several_answers_leaves_the_others(llm: OpenAILLM, server: ProviderServer) -> None:
    answers = iter(["yes", None, "no"])
    server.says = lambda prompt: next(answers)

    [output] = llm.generate_outputs([chat("one")], num_generations=3)

    assert output["generations"] == ["yes", None, "no"]


def test_an_error_in_disguise_is_told_as_the_server_tells_it(server: ProviderServer) -> None:
    server.fail("one", status=200, message="the provider behind this one is overloaded")
    llm = OpenAILLM(model="m", max_retries=0)
    llm.load()

    with pytest.raises(TransientError, match="behind this one is overloaded"):
        llm.generate_outputs([chat("one")])

    llm.unload()


def test_no_more_requests_are_out_than_it_may_have(server: ProviderServer) -> None:
    server.latency = 0.02
    llm = OpenAILLM(model="m", max_concurrency=2)
    llm.load()

    llm.generate_outputs([chat(str(number)) for number in range(12)])

    llm.unload()
    assert server.most_at_once == 2
    assert len(server.asked) == 12


def test_without_a_key_it_says_what_to_set(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")

    with pytest.raises(DistilmqUserError, match="set the environment variable `OPENAI_API_KEY`"):
        OpenAILLM(model="m").load()


def test_an_argument_that_it_does_not_take_is_named_before_anything_is_sent(server: ProviderServer) -> None:
    with pytest.raises(DistilmqUserError, match=r"name \['max_length'\]"):
        OpenAILLM(model="m", generation_kwargs={"max_length": 3}).load()
