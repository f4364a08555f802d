"""Models that steps ask, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from distilmq.models.embeddings.async_embeddings import AsyncEmbeddings
    from distilmq.models.embeddings.base import Embeddings
    from distilmq.models.embeddings.llamacpp import LlamaCppEmbeddings
    from distilmq.models.embeddings.openai import OpenAIEmbeddings
    from distilmq.models.embeddings.sentence_transformers import SentenceTransformerEmbeddings
    from distilmq.models.embeddings.vllm import vLLMEmbeddings
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
    from distilmq.models.mixins.magpie import MagpieChatTemplateMixin

_PLACES = {
    "LLM": "distilmq.models.llms.base",
    "AsyncLLM": "distilmq.models.llms.base",
    "AnthropicLLM": "distilmq.models.llms.anthropic",
    "AnyscaleLLM": "distilmq.models.llms.anyscale",
    "AsyncEmbeddings": "distilmq.models.embeddings.async_embeddings",
    "AzureOpenAILLM": "distilmq.models.llms.azure",
    "ClientvLLM": "distilmq.models.llms.vllm",
    "CohereLLM": "distilmq.models.llms.cohere",
    "CudaDevicePlacementMixin": "distilmq.models.mixins.cuda_device_placement",
    "Embeddings": "distilmq.models.embeddings.base",
    "GroqLLM": "distilmq.models.llms.groq",
    "InferenceEndpointsLLM": "distilmq.models.llms.huggingface.inference_endpoints",
    "LiteLLM": "distilmq.models.llms.litellm",
    "LlamaCppEmbeddings": "distilmq.models.embeddings.llamacpp",
    "LlamaCppLLM": "distilmq.models.llms.llamacpp",
    "MagpieChatTemplateMixin": "distilmq.models.mixins.magpie",
    "MistralLLM": "distilmq.models.llms.mistral",
    "MixtureOfAgentsLLM": "distilmq.models.llms.moa",
    "OllamaLLM": "distilmq.models.llms.ollama",
    "OpenAIEmbeddings": "distilmq.models.embeddings.openai",
    "OpenAILLM": "distilmq.models.llms.openai",
    "SentenceTransformerEmbeddings": "distilmq.models.embeddings.sentence_transformers",
    "TogetherLLM": "distilmq.models.llms.together",
    "TransformersLLM": "distilmq.models.llms.huggingface.transformers",
    "VertexAILLM": "distilmq.models.llms.vertexai",
    "vLLM": "distilmq.models.llms.vllm_here",
    "vLLMEmbeddings": "distilmq.models.embeddings.vllm",
}
_NOT_YET = (
    "AsyncImageGenerationModel",
    "ImageGenerationModel",
    "InferenceEndpointsImageGeneration",
    "MlxLLM",
    "OpenAIImageGeneration",
)

__getattr__, __dir__ = window(__name__, _PLACES, _NOT_YET, modules=["base_clients"])

__all__ = [  # imported when first asked for
    "LLM",
    "AnthropicLLM",
    "AnyscaleLLM",
    "AsyncEmbeddings",
    "AsyncLLM",
    "AzureOpenAILLM",
    "ClientvLLM",
    "CohereLLM",
    "CudaDevicePlacementMixin",
    "Embeddings",
    "GroqLLM",
    "InferenceEndpointsLLM",
    "LiteLLM",
    "LlamaCppEmbeddings",
    "LlamaCppLLM",
    "MagpieChatTemplateMixin",
    "MistralLLM",
    "MixtureOfAgentsLLM",
    "OllamaLLM",
    "OpenAIEmbeddings",
    "OpenAILLM",
    "SentenceTransformerEmbeddings",
    "TogetherLLM",
    "TransformersLLM",
    "VertexAILLM",
    "vLLM",
    "vLLMEmbeddings",
]
