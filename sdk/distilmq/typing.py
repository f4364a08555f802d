"""The types that steps, tasks and models speak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NotRequired, TypedDict

Row = dict[str, Any]
"""A record: column to value."""

StepColumns = list[str] | dict[str, bool]
"""Columns of a step: all required, or each with whether it is required."""

StepOutput = Iterator[list[Row]]
"""What `process` of a step gives: lists of rows."""

GeneratorStepOutput = Iterator[tuple[list[Row], bool]]
"""What `process` of a generator step gives: lists of rows, each with whether it is the last."""


class TextContent(TypedDict):
    """Text within a message of several parts."""

    type: Literal["text"]
    text: str


class ImageUrl(TypedDict):
    """Where an image lies: a URL, or a `data:` URL that holds it."""

    url: str


class ImageContent(TypedDict):
    """An image within a message of several parts."""

    type: Literal["image_url"]
    image_url: ImageUrl


class ChatItem(TypedDict):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"] | str
    content: str | list[TextContent | ImageContent]


ChatType = list[ChatItem]
"""A conversation."""


class OutlinesStructuredOutputType(TypedDict, total=False):
    """How a local engine must shape its answer."""

    format: Literal["json", "regex"]
    schema: Any
    whitespace_pattern: str | None


class InstructorStructuredOutputType(TypedDict, total=False):
    """How a provider must shape its answer."""

    format: Literal["json"] | None
    schema: Any
    mode: str | None
    max_retries: int


StructuredOutputType = OutlinesStructuredOutputType | InstructorStructuredOutputType
StandardInput = ChatType
StructuredInput = tuple[StandardInput, StructuredOutputType | None]
FormattedInput = StandardInput | StructuredInput | str
"""What a model is asked: a conversation, one with the shape of its answer, or bare text."""


class TokenCount(TypedDict):
    """Tokens per generation."""

    input_tokens: list[int | None]
    output_tokens: list[int | None]


LLMStatistics = TokenCount | dict[str, Any]
LLMOutput = list[str | None]


class Logprob(TypedDict):
    """A token and how likely it was."""

    token: str
    logprob: float


LLMLogprobs = list[list[list[Logprob]]]
"""Per generation, per place in it: the tokens that were likely there."""

HiddenState = Any
"""A NumPy array: per token of an input, the last layer's vector."""


class Unanswered(TypedDict):
    """Why a model gave no text."""

    refused: bool
    """Whether it refuses the content."""
    why: str
    answer: str | None
    """What it said instead."""


class GenerateOutput(TypedDict):
    """What a model gives for one input: `num_generations` texts, None where it gave none."""

    generations: LLMOutput
    statistics: LLMStatistics
    logprobs: NotRequired[LLMLogprobs]
    unanswered: NotRequired[list[Unanswered | None]]
    """Of a model that is asked by requests, per generation why it gave none; its caller gets `errors` instead."""
    errors: NotRequired[list[Exception | None]]
    """Per generation why it is None, where that is known."""


class RuntimeParameterInfo(TypedDict, total=False):
    """What there is to know about one runtime parameter, or about those of a nested model."""

    name: str
    optional: bool
    description: str | None
    runtime_parameters_info: Any
    keys: list[dict[str, Any]]


RuntimeParametersNames = dict[str, Any]
"""Parameter to whether it is optional; of a nested model to such a dict again."""

PipelineRuntimeParametersInfo = dict[str, list[RuntimeParameterInfo]]
"""Step to its runtime parameters."""

LoadGroups = list[list[Any]] | Literal["sequential_step_execution"]
"""Which steps are loaded together."""

InputDataset = Any
"""What `Pipeline.run(dataset=…)` takes: a list of dicts, a `datasets.Dataset` or a `pandas.DataFrame`."""

__all__ = [
    "ChatItem",
    "ChatType",
    "FormattedInput",
    "GenerateOutput",
    "GeneratorStepOutput",
    "HiddenState",
    "ImageContent",
    "ImageUrl",
    "InputDataset",
    "InstructorStructuredOutputType",
    "LLMLogprobs",
    "LLMOutput",
    "LLMStatistics",
    "LoadGroups",
    "Logprob",
    "OutlinesStructuredOutputType",
    "PipelineRuntimeParametersInfo",
    "Row",
    "RuntimeParameterInfo",
    "RuntimeParametersNames",
    "StandardInput",
    "StepColumns",
    "StepOutput",
    "StructuredInput",
    "StructuredOutputType",
    "TextContent",
    "TokenCount",
    "Unanswered",
]
