"""`VertexAILLM` over HTTP, against a server that speaks Gemini's API and gives out Google's tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError, RefusedError, RequestsFailedError, StepFatalError
from distilmq.models import VertexAILLM
from distilmq.models.llms.vertexai import as_contents
from tests.servers.providers import ProviderServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        for name, value in running.env(tmp_path).items():
            if name.startswith("GOOGLE"):
                monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def llm(server: ProviderServer) -> Iterator[VertexAILLM]:
    model = VertexAILLM(model="gemini-1.0-pro")
    model.load()
    yield model
    model.unload()


def chat(text: str) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": text},
    ]


def test_it_answers_with_what_it_took(llm: VertexAILLM) -> None:
    [output] = llm.generate_outputs([chat("one")])

    assert output == {"generations": ["You said: one"], "statistics": {"input_tokens": [1], "output_tokens": [3]}}


def test_system_and_assistant_messages_go_geminis_own_way(llm: VertexAILLM, server: ProviderServer) -> None:
    llm.generate_outputs([chat("one")])

    body = server.asked[0].body
    assert body["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    assert [(content["role"], content["parts"][0]["text"]) for content in body["contents"]] == [
        ("user", "Hello!"),
        ("model", "Hi."),
        ("user", "one"),
    ]


def test_max_new_tokens_is_geminis_max_output_tokens(llm: VertexAILLM, server: ProviderServer) -> None:
    llm.generate_outputs([chat("one")], max_new_tokens=512, temperature=0.7)

    config = server.asked[0].body["generationConfig"]
    assert (config["maxOutputTokens"], config["temperature"]) == (512, 0.7)


def test_both_names_of_the_bound_are_an_error(server: ProviderServer) -> None:
    llm = VertexAILLM(model="gemini-1.0-pro", generation_kwargs={"max_new_tokens": 1, "max_output_tokens": 2})

    with pytest.raises(DistilmqUserError, match="both `max_new_tokens` and `max_output_tokens`"):
        llm.load()


def test_a_schema_is_asked_for_in_geminis_own_way(llm: VertexAILLM, server: ProviderServer) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    server.says = lambda prompt: '{"a": 1}'

    llm.generate_outputs([(chat("one"), {"format": "json", "schema": schema})])

    config = server.asked[0].body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"] == schema


def test_the_credentials_project_is_the_one_asked(llm: VertexAILLM, server: ProviderServer) -> None:
    assert llm._aclient is not None
    assert llm._aclient._api_client.project == "project-of-the-tests"


def test_a_failing_request_does_not_touch_its_neighbours(llm: VertexAILLM, server: ProviderServer) -> None:
    server.fail("bad", status=400, code="INVALID_ARGUMENT", message="too long")

    with pytest.raises(RequestsFailedError, match="too long") as caught:
        llm.generate_outputs([chat("one"), chat("bad")])

    assert list(caught.value.failures) == [1]


def test_the_sdk_does_not_retry_behind_our_back(server: ProviderServer) -> None:
    server.fail("one", status=429, code="RESOURCE_EXHAUSTED", retry_after=0.02, times=2)
    llm = VertexAILLM(model="gemini-1.0-pro", max_retries=2)
    llm.load()

    [output] = llm.generate_outputs([chat("one")])

    llm.unload()
    assert output["generations"] == ["You said: one"]
    assert len(server.asked) == 3


@pytest.mark.parametrize(("status", "code"), [(403, "PERMISSION_DENIED"), (404, "NOT_FOUND")])
def test_what_no_request_survives_ends_the_run(
    llm: VertexAILLM, server: ProviderServer, status: int, code: str
) -> None:
    server.fail("", status=status, code=code, message="as Google says")

    with pytest.raises(StepFatalError, match="as Google says"):
        llm.generate_outputs([chat("one")])


def test_what_is_blocked_is_an_error_with_geminis_reason(llm: VertexAILLM, server: ProviderServer) -> None:
    server.says = lambda prompt: None

    with pytest.raises(RefusedError, match="'SAFETY'"):
        llm.generate_outputs([chat("one")])


def test_without_credentials_it_says_how_to_get_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ProviderServer
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))

    with pytest.raises(DistilmqUserError, match="gcloud auth application-default"):
        VertexAILLM(model="gemini-1.0-pro").load()


def test_only_gemini_models_are_asked(server: ProviderServer) -> None:
    with pytest.raises(DistilmqUserError, match="asks Gemini models only"):
        VertexAILLM(model="gpt-4").load()


def test_images_are_sent_as_they_are() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}

    _, contents = as_contents([{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}])

    assert contents[0]["parts"] == [
        {"text": "What is it?"},
        {"inline_data": {"mime_type": "image/png", "data": b"hello"}},
    ]
