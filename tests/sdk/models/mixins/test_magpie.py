"""A model that writes what a user would say: which text it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub.utils import set_async_client_factory
from huggingface_hub.utils._http import default_async_client_factory
from pydantic import ValidationError

from distilmq import models
from distilmq.errors import DistilmqUserError
from distilmq.models import AsyncLLM, MagpieChatTemplateMixin
from tests.servers.providers import ProviderServer

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def render(messages: Sequence[Mapping[str, Any]], answering: bool) -> str:
    text = "".join(f"<{message['role']}>{message['content']}" for message in messages)
    return f"<s>{text}{'<assistant>' if answering else ''}"


def with_magpie(template: str) -> MagpieChatTemplateMixin:
    return MagpieChatTemplateMixin(use_magpie_template=True, magpie_pre_query_template=template)


@pytest.mark.parametrize(
    ("conversation", "text"),
    [
        ([], "<s><user>"),
        ([SYSTEM], "<s><system>Be brief.<user>"),
        ([SYSTEM, USER], "<s><system>Be brief.<user>Hi<assistant>"),
        ([USER, ANSWER], "<s><user>Hi<assistant>Hello<user>"),
    ],
    ids=["nothing", "the system alone", "the user last", "the assistant last"],
)
def test_a_users_turn_begins_where_the_conversation_lacks_one(conversation: list[dict[str, str]], text: str) -> None:
    assert with_magpie("<s><user>").prompt_of(conversation, render, begin="<s>") == text


def test_without_magpie_a_conversation_is_left_as_it_is() -> None:
    assert MagpieChatTemplateMixin().prompt_of([SYSTEM], render, begin="<s>") == "<s><system>Be brief.<assistant>"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("llama3", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"),
        ("qwen2", "<|im_start|>user\n"),
        ("<own>", "<own>"),
    ],
)
def test_families_of_models_are_known_by_name(name: str, text: str) -> None:
    model = with_magpie(name)

    assert model.magpie_pre_query_template == text
    assert model.apply_magpie_pre_query_template("before", []) == f"before{text}"
    assert model.apply_magpie_pre_query_template("before", [USER]) == "before"


def test_a_template_has_to_be_given() -> None:
    with pytest.raises(ValidationError, match="Cannot set `use_magpie_template=True`"):
        MagpieChatTemplateMixin(use_magpie_template=True)


@pytest.mark.parametrize(
    ("name", "tokenizer"),
    [
        ("ClientvLLM", "tokenizer"),
        ("InferenceEndpointsLLM", "tokenizer_id"),
        ("OllamaLLM", "tokenizer_id"),
        ("LlamaCppLLM", "tokenizer_id"),
    ],
)
def test_the_chat_template_has_to_be_known(name: str, tokenizer: str) -> None:
    field = {"InferenceEndpointsLLM": "base_url", "LlamaCppLLM": "model_path"}.get(name, "model")
    llm = getattr(models, name)(**{field: "x"}, use_magpie_template=True, magpie_pre_query_template="qwen2")

    with pytest.raises(DistilmqUserError, match=f"cannot be `True` if `{tokenizer}` of `{name}` is `None`"):
        llm.load()


@pytest.mark.parametrize("name", ["ClientvLLM", "InferenceEndpointsLLM", "OllamaLLM"])
def test_the_text_arrives(name: str, tmp_path: Path, provider_server: ProviderServer) -> None:
    config = {"chat_template": TEMPLATE, "bos_token": "<s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    magpie = {"use_magpie_template": True, "magpie_pre_query_template": "<s><user>"}
    url = provider_server.url
    llm: AsyncLLM = {
        "ClientvLLM": lambda: models.ClientvLLM(
            model="m", base_url=f"{url}/vllm/v1", tokenizer=str(tmp_path), **magpie
        ),
        "InferenceEndpointsLLM": lambda: models.InferenceEndpointsLLM(
            base_url=f"{url}/huggingface", tokenizer_id=str(tmp_path), **magpie
        ),
        "OllamaLLM": lambda: models.OllamaLLM(model="m", tokenizer_id=str(tmp_path), **magpie),
    }[name]()
    # The tests are offline for the Hub's library, and its own client would keep even to this machine's servers.
    set_async_client_factory(httpx2.AsyncClient)
    llm.load()

    [output] = llm.generate_outputs([[SYSTEM]])

    llm.unload()
    set_async_client_factory(default_async_client_factory)
    assert output["generations"] == ["You said: <s><system>Be brief.<user>"]


def test_a_model_saved_by_distilabel_keeps_its_template() -> None:
    saved = {
        "model": "m",
        "use_magpie_template": True,
        "magpie_pre_query_template": "<|im_start|>user\n",
        "type_info": {"module": "distilabel.models.llms.ollama", "name": "OllamaLLM"},
    }

    llm = models.LLM.from_dict(saved)

    assert llm.dump()["magpie_pre_query_template"] == "<|im_start|>user\n"
