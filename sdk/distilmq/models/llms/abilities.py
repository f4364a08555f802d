"""What each provider over HTTP can and cannot do, and which engines run models in this process: two tables.

The docs print them, and the contract tests hold every class over HTTP to the first, in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Ability(StrEnum):
    """What a user may want of a provider."""

    SEVERAL = "several answers in one request"
    SYSTEM = "system messages"
    IMAGES = "images"
    IMAGE_ADDRESSES = "images by address"
    SCHEMA = "JSON schema"
    LOGPROBS = "log probabilities"
    TEXT = "continuing bare text"
    TOKENS = "token counts"
    REFUSALS = "refusals told apart"


@dataclass(frozen=True, slots=True)
class Provider:
    """One row of the table."""

    llm: str
    """The class, as `distilmq.models` offers it."""
    key: str | None
    """The environment variable of the key."""
    address: str | None
    """The environment variable of the server's address."""
    extra: str | None = None
    """What to install beside distilmq; None where nothing is needed."""
    cannot: Mapping[Ability, str] = field(default_factory=dict[Ability, str])
    """What it cannot do, with what happens instead."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One row of the table of engines in this process."""

    model: str
    """The class, as `distilmq.models` offers it."""
    extra: str
    """What to install beside distilmq."""
    tried: str
    """What the tests run it with."""


_ONE_EACH = "it is asked as often"
_AS_SAID = "the text is sent as what the user says"
_NOT_OFFERED = "the API gives none: `logprobs` is no argument"

PROVIDERS = (
    Provider(
        "AnthropicLLM",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "anthropic",
        {Ability.SEVERAL: _ONE_EACH, Ability.LOGPROBS: _NOT_OFFERED, Ability.TEXT: _AS_SAID},
    ),
    Provider("AnyscaleLLM", "ANYSCALE_API_KEY", "ANYSCALE_BASE_URL"),
    Provider("AzureOpenAILLM", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"),
    Provider("ClientvLLM", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    Provider(
        "CohereLLM",
        "COHERE_API_KEY",
        "COHERE_BASE_URL",
        cannot={Ability.SEVERAL: _ONE_EACH, Ability.TEXT: _AS_SAID},
    ),
    Provider(
        "GroqLLM",
        "GROQ_API_KEY",
        "GROQ_BASE_URL",
        cannot={Ability.SEVERAL: _ONE_EACH, Ability.LOGPROBS: _NOT_OFFERED, Ability.TEXT: _AS_SAID},
    ),
    Provider("InferenceEndpointsLLM", "HF_TOKEN", None, cannot={Ability.SEVERAL: _ONE_EACH}),
    Provider("LiteLLM", None, None, "litellm", {Ability.TEXT: _AS_SAID}),
    Provider(
        "MistralLLM",
        "MISTRAL_API_KEY",
        "MISTRAL_BASE_URL",
        "mistralai",
        {
            Ability.SEVERAL: _ONE_EACH,
            Ability.LOGPROBS: _NOT_OFFERED,
            Ability.TEXT: _AS_SAID,
            Ability.REFUSALS: "a refusal is text like any other",
        },
    ),
    Provider(
        "OllamaLLM",
        None,
        "OLLAMA_HOST",
        cannot={
            Ability.SEVERAL: _ONE_EACH,
            Ability.IMAGE_ADDRESSES: "the row fails: Ollama fetches no images, give `data:` URLs",
            Ability.REFUSALS: "a refusal is text like any other",
        },
    ),
    Provider("OpenAILLM", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    Provider("TogetherLLM", "TOGETHER_API_KEY", "TOGETHER_BASE_URL"),
    Provider(
        "VertexAILLM",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_VERTEX_BASE_URL",
        "vertexai",
        {Ability.SEVERAL: _ONE_EACH, Ability.TEXT: _AS_SAID},
    ),
)

_REAL = "real weights: Gemma 3 270M, on a CPU"
_MADE = "a tiny model that the tests make, on a CPU"
_MADE_FOR_CPU = "a tiny model that the tests make, on a CPU (vLLM 0.32); not on a GPU"

ENGINES = (
    Engine("LlamaCppLLM", "llama-cpp", _REAL),
    Engine("TransformersLLM", "hf-transformers", _MADE),
    Engine("vLLM", "vllm", _MADE_FOR_CPU),
    Engine("LlamaCppEmbeddings", "llama-cpp", _REAL),
    Engine("SentenceTransformerEmbeddings", "sentence-transformers", _MADE),
    Engine("vLLMEmbeddings", "vllm", _MADE_FOR_CPU),
)


def provider(llm: str) -> Provider:
    """The row of a class."""
    return next(row for row in PROVIDERS if row.llm == llm)
