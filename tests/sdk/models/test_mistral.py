"""`MistralLLM` over HTTP, against a server that speaks Mistral's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError, RequestsFailedError, StepFatalError
from distilmq.models import MistralLLM
from tests.servers.providers import KEY, ProviderServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        monkeypatch.setenv("MISTRAL_BASE_URL", f"{running.url}/mistral")
        monkeypatch.setenv("MISTRAL_API_KEY", KEY)
        yield running


@pytest.fixture
def llm(server: ProviderServer) -> Iterator[MistralLLM]:
    model = MistralLLM(model="mistral-large-2402")
    model.load()
    yield model
    model.unload()


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def test_it_answers_with_what_it_took(llm: MistralLLM) -> None:
    [output] = llm.generate_outputs([chat("one")])

    assert output == {"generations": ["You said: one"], "statistics": {"input_tokens": [1], "output_tokens": [3]}}


def test_max_new_tokens_is_mistrals_max_tokens(llm: MistralLLM, server: ProviderServer) -> None:
    llm.generate_outputs([chat("one")], max_new_tokens=512, temperature=0.7)

    [asked] = server.asked
    assert asked.model == "mistral-large-2402"
    assert (asked.body["max_tokens"], asked.body["temperature"]) == (512, 0.7)
    assert [message["role"] for message in asked.body["messages"]] == ["system", "user"]


def test_several_generations_are_several_requests(llm: MistralLLM, server: ProviderServer) -> None:
    [output] = llm.generate_outputs([chat("one")], num_generations=2)

    assert output == {
        "generations": ["You said: one"] * 2,
        "statistics": {"input_tokens": [1, 1], "output_tokens": [3, 3]},
    }
    assert len(server.asked) == 2


def test_a_schema_is_asked_for_in_mistrals_own_way(llm: MistralLLM, server: ProviderServer) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    server.says = lambda prompt: '{"a": 1}'

    llm.generate_outputs([(chat("one"), {"format": "json", "schema": schema})])

    shape = server.asked[0].body["response_format"]
    assert shape["type"] == "json_schema"
    assert shape["json_schema"]["schema"] == schema


def test_a_failing_request_does_not_touch_its_neighbours(llm: MistralLLM, server: ProviderServer) -> None:
    server.fail("bad", status=422, message="too long")

    with pytest.raises(RequestsFailedError, match="too long") as caught:
        llm.generate_outputs([chat("one"), chat("bad")])

    assert list(caught.value.failures) == [1]


def test_the_sdk_does_not_retry_behind_our_back(server: ProviderServer) -> None:
    server.fail("one", status=429, retry_after=0.02, times=3)
    llm = MistralLLM(model="m", max_retries=3)
    llm.load()

    [output] = llm.generate_outputs([chat("one")])

    llm.unload()
    assert output["generations"] == ["You said: one"]
    assert len(server.asked) == 4


@pytest.mark.parametrize(("status", "code"), [(401, None), (400, "invalid_model")])
def test_what_no_request_survives_ends_the_run(
    llm: MistralLLM, server: ProviderServer, status: int, code: str | None
) -> None:
    server.fail("", status=status, code=code, message="as Mistral says")

    with pytest.raises(StepFatalError, match="as Mistral says"):
        llm.generate_outputs([chat("one")])


def test_without_a_key_it_says_what_to_set(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISTRAL_API_KEY")

    with pytest.raises(DistilmqUserError, match="`MISTRAL_API_KEY`"):
        MistralLLM(model="m").load()
