"""Embedding models."""

from __future__ import annotations

from distilmq.utils.not_yet import window

_NOT_YET = ("Embeddings", "LlamaCppEmbeddings", "SentenceTransformerEmbeddings", "vLLMEmbeddings")

__getattr__, __dir__ = window(__name__, {}, _NOT_YET, modules=["base", "llamacpp", "sentence_transformers", "vllm"])

__all__: list[str] = []
