"""Models that steps ask, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from distilmq.models.llms.base import LLM, AsyncLLM
    from distilmq.models.llms.llamacpp import LlamaCppLLM
    from distilmq.models.llms.mistral import MistralLLM
    from distilmq.models.llms.openai import OpenAILLM
    from distilmq.models.llms.vertexai import VertexAILLM

_PLACES = {
    "LLM": "distilmq.models.llms.base",
    "AsyncLLM": "distilmq.models.llms.base",
    "LlamaCppLLM": "distilmq.models.llms.llamacpp",
    "MistralLLM": "distilmq.models.llms.mistral",
    "OpenAILLM": "distilmq.models.llms.openai",
    "VertexAILLM": "distilmq.models.llms.vertexai",
}
_NOT_YET = (
    "AnthropicLLM",
    "AnyscaleLLM",
    "AsyncImageGenerationModel",
    "AzureOpenAILLM",
    "ClientvLLM",
    "CohereLLM",
    "CudaDevicePlacementMixin",
    "Embeddings",
    "GroqLLM",
    "ImageGenerationModel",
    "InferenceEndpointsImageGeneration",
    "InferenceEndpointsLLM",
    "LiteLLM",
    "LlamaCppEmbeddings",
    "MixtureOfAgentsLLM",
    "MlxLLM",
    "OllamaLLM",
    "OpenAIImageGeneration",
    "SentenceTransformerEmbeddings",
    "TogetherLLM",
    "TransformersLLM",
    "vLLM",
    "vLLMEmbeddings",
)

__getattr__, __dir__ = window(__name__, _PLACES, _NOT_YET, modules=["base_clients", "mixins"])

__all__ = [  # imported when first asked for
    "LLM",
    "AsyncLLM",
    "LlamaCppLLM",
    "MistralLLM",
    "OpenAILLM",
    "VertexAILLM",
]
