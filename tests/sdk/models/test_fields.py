"""Every field of every model counts among those of substance, or among those that change nothing of what comes out."""

from __future__ import annotations

import pytest

from distilmq import models
from distilmq.mixins.signature import operational
from distilmq.models import AsyncLLM
from distilmq.models.llms.abilities import PROVIDERS

OPENAIS = {"api_key", "base_url", "default_headers", "timeout"}
OF_REQUESTS = {"input_tokens_per_minute", "max_concurrency", "max_retries", "requests_per_minute"}
OPERATIONAL = {
    "AnthropicLLM": {"api_key", "base_url", "http_client", "timeout"},
    "AnyscaleLLM": OPENAIS,
    "AzureOpenAILLM": OPENAIS | {"api_version"},
    "ClientvLLM": OPENAIS,
    "CohereLLM": {"api_key", "base_url", "client_name", "timeout"},
    "GroqLLM": OPENAIS,
    "InferenceEndpointsLLM": {"api_key", "base_url", "endpoint_namespace", "timeout"},
    "LiteLLM": {"verbose"},
    "LlamaCppLLM": {"max_concurrent_requests", "n_batch", "n_gpu_layers", "verbose"},
    "MistralLLM": {"api_key", "endpoint", "max_concurrent_requests", "timeout"},
    "OllamaLLM": {"follow_redirects", "host", "timeout"},
    "OpenAILLM": OPENAIS,
    "TogetherLLM": OPENAIS,
    "VertexAILLM": {"base_url", "location", "project", "timeout"},
}
MAGPIE = {"magpie_pre_query_template", "use_magpie_template"}
SUBSTANCE = {
    "ClientvLLM": {"model", "tokenizer", "tokenizer_revision"} | MAGPIE,
    "InferenceEndpointsLLM": {"endpoint_name", "model_display_name", "model_id", "tokenizer_id"} | MAGPIE,
    "LlamaCppLLM": {"chat_format", "extra_kwargs", "model_path", "n_ctx", "seed", "tokenizer_id"} | MAGPIE,
    "OllamaLLM": {"model", "tokenizer_id"} | MAGPIE,
}
"""Beside `structured_output`, which all have; of most only the model's name."""
LLMS: list[type[AsyncLLM]] = [getattr(models, name) for name in (*(row.llm for row in PROVIDERS), "LlamaCppLLM")]


@pytest.mark.parametrize("llm", LLMS, ids=lambda llm: llm.__name__)
def test_every_field_is_operational_or_of_substance(llm: type[AsyncLLM]) -> None:
    own = set(llm.model_fields) - set(AsyncLLM.model_fields)

    assert own & operational(llm) == OPERATIONAL[llm.__name__] | {"max_validation_retries"}
    assert own - operational(llm) == SUBSTANCE.get(llm.__name__, {"model"}) | {"structured_output"}


@pytest.mark.parametrize("llm", LLMS, ids=lambda llm: llm.__name__)
def test_a_field_that_several_classes_have_is_described_alike(llm: type[AsyncLLM]) -> None:
    for name, description in (
        ("api_key", "The API key to authenticate the requests."),
        ("timeout", "The maximum time in seconds to wait for a response from the API."),
        ("structured_output", "The shape of the answers."),
    ):
        if (field := llm.model_fields.get(name)) is not None:
            assert field.description == description


def test_what_operators_wait_for_by_default() -> None:
    waits = {llm.__name__: llm.model_fields["timeout"].default for llm in LLMS if "timeout" in llm.model_fields}

    assert waits.pop("AnthropicLLM") == 600
    assert set(waits.values()) == {120}


HERE_OPERATIONAL = {
    "LlamaCppEmbeddings": {"model_path", "n_batch", "n_gpu_layers", "seed", "verbose"},
    "OpenAIEmbeddings": OPENAIS | {"texts_per_request"} | OF_REQUESTS,
    "SentenceTransformerEmbeddings": {"device", "token"},
    "TransformersLLM": {"device", "device_map", "token", "use_fast"},
    "vLLM": OF_REQUESTS | {"max_validation_retries", "output_tokens_per_minute"},
    "vLLMEmbeddings": {"enforce_eager"},
}
GPUS = {"cuda_devices", "disable_cuda_device_placement"}
HERE_SUBSTANCE = {
    "LlamaCppEmbeddings": {"extra_kwargs", "model", "n_ctx", "normalize_embeddings", "repo_id"},
    "OpenAIEmbeddings": {"dimensions", "extra_body", "model"},
    "SentenceTransformerEmbeddings": {
        *("config_kwargs", "default_prompt_name", "model", "model_kwargs", "normalize_embeddings", "precision"),
        *("prompts", "revision", "tokenizer_kwargs", "truncate_dim", "trust_remote_code"),
    },
    "TransformersLLM": {
        *("chat_template", "model", "model_kwargs", "revision", "structured_output", "tokenizer", "torch_dtype"),
        *("trust_remote_code", *MAGPIE),
    },
    "vLLM": {
        *("chat_template", "dtype", "extra_kwargs", "model", "quantization", "revision", "seed", "skip_tokenizer_init"),
        *("structured_output", "tokenizer", "tokenizer_mode", "tokenizer_revision", "trust_remote_code", *MAGPIE),
    },
    "vLLMEmbeddings": {"dtype", "extra_kwargs", "model", "quantization", "revision", "seed", "trust_remote_code"},
}


@pytest.mark.parametrize("name", HERE_SUBSTANCE)
def test_every_field_of_engines_and_embeddings_is_operational_or_of_substance(name: str) -> None:
    cls = getattr(models, name)
    base = models.LLM if issubclass(cls, models.LLM) else models.Embeddings
    own = set(cls.model_fields) - set(base.model_fields) - GPUS

    assert own & operational(cls) == HERE_OPERATIONAL[name]
    assert own - operational(cls) == HERE_SUBSTANCE[name]
    assert set(cls.model_fields) & GPUS <= operational(cls)
