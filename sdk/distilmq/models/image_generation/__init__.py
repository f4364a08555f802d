"""Models that paint."""

from __future__ import annotations

from distilmq.utils.not_yet import window

_NOT_YET = (
    "AsyncImageGenerationModel",
    "ImageGenerationModel",
    "InferenceEndpointsImageGeneration",
    "OpenAIImageGeneration",
)

__getattr__, __dir__ = window(__name__, {}, _NOT_YET)

__all__: list[str] = []
