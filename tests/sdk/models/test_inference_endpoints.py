"""`InferenceEndpointsLLM` beyond the contract: ways to the model, and text with arguments of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import set_async_client_factory, set_client_factory
from huggingface_hub.utils._http import default_async_client_factory, default_client_factory

from distilmq.errors import DistilmqUserError, InvalidRequestError
from distilmq.models import InferenceEndpointsLLM
from tests.servers.providers import ProviderServer

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.fixture
def server(provider_server: ProviderServer) -> Iterator[ProviderServer]:
    # The tests are offline for the Hub's library, and its own client would keep even to this machine's servers.
    set_async_client_factory(httpx2.AsyncClient)
    set_client_factory(httpx2.Client)
    yield provider_server
    set_async_client_factory(default_async_client_factory)
    set_client_factory(default_client_factory)


@pytest.fixture
def llm(server: ProviderServer) -> Iterator[InferenceEndpointsLLM]:
    model = InferenceEndpointsLLM(base_url=f"{server.url}/huggingface/")
    model.load()
    yield model
    model.unload()


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "needs one of `model_id`, `endpoint_name` and `base_url`"),
        ({"model_id": "org/model", "endpoint_name": "mine"}, "both `model_id` and `endpoint_name`"),
    ],
)
def test_there_is_one_way_to_the_model(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        InferenceEndpointsLLM(**fields)


def test_a_model_at_hugging_face_needs_a_key_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "sk-of-someone-else")

    with pytest.raises(DistilmqUserError, match="`HF_TOKEN`"):
        InferenceEndpointsLLM(model_id="org/model").load()


def test_an_endpoint_that_sleeps_is_woken(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "INFERENCE_ENDPOINTS_ENDPOINT", f"{server.url}/endpoints")
    llm = InferenceEndpointsLLM(endpoint_name="mine", endpoint_namespace="us")
    llm.load()

    [output] = llm.generate_outputs([chat("Hi")])

    llm.unload()
    assert output["generations"] == ["You said: Hi"]
    assert llm.model_name == "org/model"


def test_an_endpoint_that_is_not_there_is_named(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "INFERENCE_ENDPOINTS_ENDPOINT", f"{server.url}/endpoints")

    with pytest.raises(DistilmqUserError, match="The endpoint 'yours' of Hugging Face cannot be used"):
        InferenceEndpointsLLM(endpoint_name="yours", endpoint_namespace="us").load()


def test_rows_carry_the_name_to_show() -> None:
    assert InferenceEndpointsLLM(model_id="org/model").model_name == "org/model"
    assert InferenceEndpointsLLM(model_id="org/model", model_display_name="Ours").model_name == "Ours"


def test_text_is_continued_with_arguments_that_only_text_has(
    llm: InferenceEndpointsLLM, server: ProviderServer
) -> None:
    shape = {"format": "regex", "schema": "[A-Za-z: ]+"}

    [output] = llm.generate_outputs(
        [("Once upon", shape)], max_new_tokens=7, do_sample=True, typical_p=0.9, watermark=True, logprobs=True
    )

    parameters = server.asked[0].body["parameters"]
    assert output["generations"] == ["You said: Once upon"]
    assert output["statistics"]["output_tokens"] == [4]
    assert [token[0]["token"] for token in (output.get("logprobs") or [])[0]] == ["You", "said:", "Once", "upon"]
    assert (parameters["max_new_tokens"], parameters["do_sample"], parameters["typical_p"]) == (7, True, 0.9)
    assert parameters["grammar"] == {"type": "regex", "value": "[A-Za-z: ]+"}


def test_with_a_tokenizer_the_conversation_is_sent_as_text(server: ProviderServer, tmp_path: Path) -> None:
    template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    server.says = lambda prompt: '{"a": 1}'
    llm = InferenceEndpointsLLM(base_url=f"{server.url}/huggingface", tokenizer_id=str(tmp_path))
    llm.load()

    [output] = llm.generate_outputs([(chat("Hi"), {"format": "json", "schema": SCHEMA})])

    llm.unload()
    assert output["generations"] == ['{"a": 1}']
    assert server.prompts == ["<user>Hi"]
    assert server.asked[0].body["parameters"]["grammar"] == {"type": "json", "value": SCHEMA}


def test_an_error_of_the_text_server_keeps_its_words(llm: InferenceEndpointsLLM, server: ProviderServer) -> None:
    server.fail("Once", status=422, code="validation", message="inputs must have less than 4096 tokens")

    with pytest.raises(InvalidRequestError, match="less than 4096 tokens"):
        llm.generate_outputs(["Once upon"])


def test_more_texts_to_stop_at_than_the_server_takes_are_refused(llm: InferenceEndpointsLLM) -> None:
    with pytest.raises(DistilmqUserError, match="may be 4 at most, they are 5"):
        llm.generate_outputs([chat("Hi")], stop_sequences=list("abcde"))
