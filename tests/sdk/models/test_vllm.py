"""`ClientvLLM` beyond the contract: what the server serves, and templates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.models import ClientvLLM
from tests.servers.providers import ProviderServer

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_without_a_name_the_model_is_the_one_that_is_served(provider_server: ProviderServer) -> None:
    llm = ClientvLLM(base_url=f"{provider_server.url}/vllm/v1")
    llm.load()

    llm.generate_outputs([chat("Hi")])

    llm.unload()
    assert llm.model_name == "served-model"
    assert provider_server.asked[0].model == "served-model"


def test_a_server_that_does_not_say_what_it_serves_is_named(provider_server: ProviderServer) -> None:
    with pytest.raises(DistilmqUserError, match="does not say what model it serves"):
        ClientvLLM(base_url=f"{provider_server.url}/nowhere/v2").load()


def test_with_a_tokenizer_the_conversation_is_sent_as_text_with_its_schema(
    provider_server: ProviderServer, tmp_path: Path
) -> None:
    template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    provider_server.says = lambda prompt: '{"a": 1}'
    llm = ClientvLLM(model="m", base_url=f"{provider_server.url}/vllm/v1", tokenizer=str(tmp_path))
    llm.load()

    [output] = llm.generate_outputs([(chat("Hi"), {"format": "json", "schema": SCHEMA})], logprobs=True)

    llm.unload()
    body = provider_server.asked[0].body
    assert output["generations"] == ['{"a": 1}']
    assert provider_server.prompts == ["<user>Hi"]
    assert len(output.get("logprobs") or []) == 1
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA


def test_further_fields_reach_the_server(provider_server: ProviderServer) -> None:
    llm = ClientvLLM(model="m", base_url=f"{provider_server.url}/vllm/v1")
    llm.load()

    llm.generate_outputs([chat("Hi")], extra_body={"top_k": 5})

    llm.unload()
    assert provider_server.asked[0].body["top_k"] == 5
