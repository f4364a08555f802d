"""Chat templates of models on the Hub: how a conversation becomes the text that the model was trained on.

They are Jinja templates in the repository of a tokenizer, in `chat_template.jinja` or in `tokenizer_config.json`,
and are rendered in Jinja's sandbox, as they come from others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from distilmq.errors import DistilmqUserError

_FILE, _CONFIG = "chat_template.jinja", "tokenizer_config.json"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The chat template of one tokenizer."""

    source: str
    tokens: Mapping[str, str]
    """Special tokens by name, such as `bos_token`."""

    @classmethod
    def load(cls, tokenizer: str, *, revision: str | None = None) -> ChatTemplate:
        """Reads the template of a repository on the Hub, or of a folder.

        Raises:
            DistilmqUserError: there is none.
        """
        text = _read(tokenizer, _CONFIG, revision)
        config: dict[str, Any] = json.loads(text) if text is not None else {}
        source = _read(tokenizer, _FILE, revision) or _default_template(config.get("chat_template"))
        if source is None:
            raise DistilmqUserError(f"The tokenizer '{tokenizer}' has no chat template.")
        return cls(source, _special_tokens(config))

    @property
    def begin(self) -> str | None:
        """The token that begins every text, where there is one."""
        return self.tokens.get("bos_token")

    def render(self, messages: Sequence[Mapping[str, Any]], answering: bool = True) -> str:
        """The text of a conversation.

        Args:
            messages: the conversation.
            answering: go on to where the model's answer begins.
        """
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment: Any = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _as_json
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
        template = environment.from_string(self.source)
        return template.render(messages=messages, add_generation_prompt=answering, **self.tokens)


def _read(tokenizer: str, name: str, revision: str | None) -> str | None:
    folder = Path(tokenizer).expanduser()
    if folder.is_dir():
        path = folder / name
        return path.read_text("utf-8") if path.is_file() else None
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    hub: Any = huggingface_hub
    try:
        return Path(hub.hf_hub_download(tokenizer, name, revision=revision)).read_text("utf-8")
    except LocalEntryNotFoundError as error:
        raise DistilmqUserError(f"The tokenizer '{tokenizer}' cannot be fetched from the Hub: {error}") from error
    except EntryNotFoundError:
        return None
    except HfHubHTTPError as error:
        raise DistilmqUserError(f"The Hub does not give the tokenizer '{tokenizer}': {error}") from error


def _default_template(given: Any) -> str | None:
    """A tokenizer may have several templates, by name."""
    if isinstance(given, list):
        named = {each["name"]: each["template"] for each in cast("list[dict[str, str]]", given)}
        return named.get("default")
    return given


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    tokens: dict[str, str] = {}
    for name, value in config.items():
        if name.endswith("_token"):
            content = cast("dict[str, Any]", value).get("content") if isinstance(value, dict) else value
            if isinstance(content, str):
                tokens[name] = content
    return tokens


def _as_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)  # Jinja's own filter escapes for HTML


def _refuse(message: str) -> None:
    raise DistilmqUserError(f"The chat template refuses this conversation: {message}")


def _now(format: str) -> str:
    return datetime.now().strftime(format)
