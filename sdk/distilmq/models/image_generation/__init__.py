"""Models that paint."""

from __future__ import annotations

from distilmq.utils.not_yet import window

_NOT_YET = (
    "AsyncImageGenerationModel",
    "ImageGenerationModel",
    "InferenceEndpointsImageGeneration",
    "OpenAIImageGeneration",
)

__getattr__, __dir__ = window(__name__, {}, _NOT_YET, modules=["base", "huggingface", "openai"])

__all__: list[str] = []
