"""Chat templates of tokenizers, read from a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.models.llms.chat_template import ChatTemplate

CHAT = [{"role": "user", "content": "Hi"}]
TURNS = (
    "{{ bos_token }}{% for message in messages %}<{{ message.role }}>{{ message.content }}{{ eos_token }}{% endfor %}"
)


def written(folder: Path, **config: Any) -> str:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return str(folder)


def test_a_conversation_becomes_the_models_text(tmp_path: Path) -> None:
    tokenizer = written(tmp_path, chat_template=TURNS, bos_token="<s>", eos_token={"content": "</s>"})

    assert ChatTemplate.load(tokenizer).render(CHAT) == "<s><user>Hi</s>"


def test_the_text_ends_where_the_answer_begins(tmp_path: Path) -> None:
    tokenizer = written(tmp_path, chat_template="{% if add_generation_prompt %}<assistant>{% endif %}")

    assert ChatTemplate.load(tokenizer).render(CHAT) == "<assistant>"


def test_a_template_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    tokenizer = written(tmp_path, chat_template="old")
    (tmp_path / "chat_template.jinja").write_text("new")

    assert ChatTemplate.load(tokenizer).render(CHAT) == "new"


def test_of_several_templates_the_default_one_is_taken(tmp_path: Path) -> None:
    several = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]

    assert ChatTemplate.load(written(tmp_path, chat_template=several)).render(CHAT) == "plain"


def test_json_is_written_as_it_is(tmp_path: Path) -> None:
    tokenizer = written(tmp_path, chat_template="{{ messages[0] | tojson }}")

    text = ChatTemplate.load(tokenizer).render([{"role": "user", "content": "a < b's ü"}])

    assert text == '{"role": "user", "content": "a < b\'s ü"}'


def test_a_tokenizer_without_a_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match="has no chat template"):
        ChatTemplate.load(written(tmp_path))


def test_what_a_template_refuses_is_told(tmp_path: Path) -> None:
    tokenizer = written(tmp_path, chat_template="{{ raise_exception('Only user messages') }}")

    with pytest.raises(DistilmqUserError, match="Only user messages"):
        ChatTemplate.load(tokenizer).render(CHAT)


def test_a_template_of_others_cannot_reach_out_of_its_sandbox(tmp_path: Path) -> None:
    tokenizer = written(tmp_path, chat_template="{{ messages.__class__.__mro__ }}")

    with pytest.raises(Exception, match="unsafe"):
        ChatTemplate.load(tokenizer).render(CHAT)
