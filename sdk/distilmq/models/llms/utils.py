"""What LLM classes, ours and users', build their outputs with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from distilmq.errors import DistilmqTypeError
from distilmq.typing import ChatType, GenerateOutput, LLMLogprobs, LLMOutput

_NAMES = {"user": "User", "assistant": "Assistant", "tool": "Tool"}


def prepare_output(
    generations: LLMOutput,
    input_tokens: list[int] | None = None,
    output_tokens: list[int] | None = None,
    logprobs: LLMLogprobs | None = None,
) -> GenerateOutput:
    """What a model gives for one input.

    Args:
        generations: texts, None where it gave none.
        input_tokens: per generation; not known when they are not given.
        output_tokens: per generation; not known when they are not given.
        logprobs: of each generation's tokens.
    """
    output: GenerateOutput = {
        "generations": generations,
        "statistics": {
            "input_tokens": list(input_tokens) if input_tokens else [None],
            "output_tokens": list(output_tokens) if output_tokens else [None],
        },
    }
    if logprobs:
        output["logprobs"] = logprobs
    return output


def as_output(given: Any, giver: str) -> GenerateOutput:
    """What a user's model gave for one input, in full.

    Args:
        given: an output, or only its generations, of a model written before statistics were part of it.
        giver: what gave it, for the error.

    Raises:
        DistilmqTypeError: it is neither.
    """
    if isinstance(given, Mapping) and "generations" in given:
        return cast("GenerateOutput", given)
    if isinstance(given, (list, tuple)):
        return prepare_output(list(cast("Sequence[str | None]", given)))
    found = f"a '{type(cast('object', given)).__name__}'"
    if isinstance(given, Mapping):
        found += " without generations"
    raise DistilmqTypeError(
        f'{giver} has to give {{"generations": [...], "statistics": {{...}}}} for an input, or a list of texts;'
        f" it gave {found}."
    )


def split_input(input: Any) -> tuple[Any, Any]:
    """A formatted input as conversation (or text) and the shape asked for its answer, if any."""
    return cast("tuple[Any, Any]", input) if isinstance(input, tuple) else (input, None)


def as_messages(conversation: Any) -> list[dict[str, Any]]:
    """A conversation; a bare text is what the user says."""
    if isinstance(conversation, str):
        return [{"role": "user", "content": conversation}]
    return cast("list[dict[str, Any]]", conversation)


def as_text(messages: ChatType) -> str:
    """A conversation for a model that knows none: its own text to go on with, where it is the user's only one."""
    system = [str(message["content"]) for message in messages if message["role"] == "system"]
    turns = [message for message in messages if message["role"] != "system"]
    if len(turns) == 1:
        return "\n\n".join([*system, str(turns[0]["content"])])
    said = [f"{_NAMES.get(turn['role'], 'User')}: {turn['content']}" for turn in turns]
    return "\n\n".join([*system, *said, "Assistant:"])


def given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def optional_library(library: str, extra: str) -> Any:
    """A library that one of the extras installs.

    Args:
        library: the module to import.
        extra: what installs it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise missing_library(library.replace("_", "-"), extra) from error


def missing_library(library: str, extra: str) -> ImportError:
    """What to say when a provider's library is not installed."""
    return ImportError(f"'{library}' is not installed. Install it with `pip install \"distilmq[{extra}]\"`.")
