"""Steps that work with vectors of texts, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from distilmq.steps.embeddings.embedding_generation import EmbeddingGeneration

_PLACES = {"EmbeddingGeneration": "distilmq.steps.embeddings.embedding_generation"}

__getattr__, __dir__ = window(__name__, _PLACES, ["FaissNearestNeighbour"], modules=["nearest_neighbour"])

__all__ = ["EmbeddingGeneration"]
