"""Embedding models, one provider or engine per module, imported when first asked for."""

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

_PLACES = {
    "AsyncEmbeddings": "distilmq.models.embeddings.async_embeddings",
    "Embeddings": "distilmq.models.embeddings.base",
    "LlamaCppEmbeddings": "distilmq.models.embeddings.llamacpp",
    "OpenAIEmbeddings": "distilmq.models.embeddings.openai",
    "SentenceTransformerEmbeddings": "distilmq.models.embeddings.sentence_transformers",
    "vLLMEmbeddings": "distilmq.models.embeddings.vllm",
}

__getattr__, __dir__ = window(__name__, _PLACES)

__all__ = [  # imported when first asked for
    "AsyncEmbeddings",
    "Embeddings",
    "LlamaCppEmbeddings",
    "OpenAIEmbeddings",
    "SentenceTransformerEmbeddings",
    "vLLMEmbeddings",
]
