"""`OllamaLLM` beyond the contract: hosts, options, templates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.models import OllamaLLM
from tests.servers.providers import ProviderServer


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_the_host_may_be_bare_as_ollama_writes_it(provider_server: ProviderServer) -> None:
    llm = OllamaLLM(model="m", host=f"{provider_server.url.removeprefix('http://')}/ollama")
    llm.load()

    [output] = llm.generate_outputs([chat("Hi")])

    llm.unload()
    assert output["generations"] == ["You said: Hi"]


def test_options_of_ollama_reach_it(provider_server: ProviderServer) -> None:
    llm = OllamaLLM(model="m")
    llm.load()

    llm.generate_outputs([chat("Hi")], options={"num_ctx": 99}, max_new_tokens=7, keep_alive="5m", format="json")

    llm.unload()
    body = provider_server.asked[0].body
    assert body["options"] == {"num_ctx": 99, "num_predict": 7}
    assert (body["keep_alive"], body["format"]) == ("5m", "json")


def test_both_names_of_the_bound_are_an_error(provider_server: ProviderServer) -> None:
    llm = OllamaLLM(model="m")
    llm.load()

    with pytest.raises(DistilmqUserError, match="both `max_new_tokens` and the option `num_predict`"):
        llm.generate_outputs([chat("Hi")], options={"num_predict": 9}, max_new_tokens=7)

    llm.unload()


def test_with_a_tokenizer_the_conversation_is_sent_as_text(provider_server: ProviderServer, tmp_path: Path) -> None:
    template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    llm = OllamaLLM(model="m", tokenizer_id=str(tmp_path))
    llm.load()

    [output] = llm.generate_outputs([chat("Hi")])

    llm.unload()
    assert output["generations"] == ["You said: <user>Hi"]
    assert provider_server.asked[0].body["raw"] is True
