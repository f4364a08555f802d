"""Language models, one provider per module, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from distilmq.models.llms.anthropic import AnthropicLLM
    from distilmq.models.llms.anyscale import AnyscaleLLM
    from distilmq.models.llms.azure import AzureOpenAILLM
    from distilmq.models.llms.base import LLM, AsyncLLM
    from distilmq.models.llms.cohere import CohereLLM
    from distilmq.models.llms.groq import GroqLLM
    from distilmq.models.llms.huggingface.inference_endpoints import InferenceEndpointsLLM
    from distilmq.models.llms.huggingface.transformers import TransformersLLM
    from distilmq.models.llms.litellm import LiteLLM
    from distilmq.models.llms.llamacpp import LlamaCppLLM
    from distilmq.models.llms.mistral import MistralLLM
    from distilmq.models.llms.moa import MixtureOfAgentsLLM
    from distilmq.models.llms.ollama import OllamaLLM
    from distilmq.models.llms.openai import OpenAILLM
    from distilmq.models.llms.together import TogetherLLM
    from distilmq.models.llms.vertexai import VertexAILLM
    from distilmq.models.llms.vllm import ClientvLLM
    from distilmq.models.llms.vllm_here import vLLM
    from distilmq.models.mixins.cuda_device_placement import CudaDevicePlacementMixin

_PLACES = {
    "LLM": "distilmq.models.llms.base",
    "AsyncLLM": "distilmq.models.llms.base",
    "AnthropicLLM": "distilmq.models.llms.anthropic",
    "AnyscaleLLM": "distilmq.models.llms.anyscale",
    "AzureOpenAILLM": "distilmq.models.llms.azure",
    "ClientvLLM": "distilmq.models.llms.vllm",
    "CohereLLM": "distilmq.models.llms.cohere",
    "CudaDevicePlacementMixin": "distilmq.models.mixins.cuda_device_placement",
    "GroqLLM": "distilmq.models.llms.groq",
    "InferenceEndpointsLLM": "distilmq.models.llms.huggingface.inference_endpoints",
    "LiteLLM": "distilmq.models.llms.litellm",
    "LlamaCppLLM": "distilmq.models.llms.llamacpp",
    "MistralLLM": "distilmq.models.llms.mistral",
    "MixtureOfAgentsLLM": "distilmq.models.llms.moa",
    "OllamaLLM": "distilmq.models.llms.ollama",
    "OpenAILLM": "distilmq.models.llms.openai",
    "TogetherLLM": "distilmq.models.llms.together",
    "TransformersLLM": "distilmq.models.llms.huggingface.transformers",
    "VertexAILLM": "distilmq.models.llms.vertexai",
    "vLLM": "distilmq.models.llms.vllm_here",
}
_NOT_YET = ("MlxLLM",)

_NO_MODULES = ("mlx",)

__getattr__, __dir__ = window(__name__, _PLACES, _NOT_YET, modules=_NO_MODULES)

__all__ = [  # imported when first asked for
    "LLM",
    "AnthropicLLM",
    "AnyscaleLLM",
    "AsyncLLM",
    "AzureOpenAILLM",
    "ClientvLLM",
    "CohereLLM",
    "CudaDevicePlacementMixin",
    "GroqLLM",
    "InferenceEndpointsLLM",
    "LiteLLM",
    "LlamaCppLLM",
    "MistralLLM",
    "MixtureOfAgentsLLM",
    "OllamaLLM",
    "OpenAILLM",
    "TogetherLLM",
    "TransformersLLM",
    "VertexAILLM",
    "vLLM",
]
