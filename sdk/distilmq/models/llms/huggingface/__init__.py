"""Models at Hugging Face, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from distilmq.models.llms.huggingface.inference_endpoints import InferenceEndpointsLLM
    from distilmq.models.llms.huggingface.transformers import TransformersLLM

_PLACES = {
    "InferenceEndpointsLLM": "distilmq.models.llms.huggingface.inference_endpoints",
    "TransformersLLM": "distilmq.models.llms.huggingface.transformers",
}

__getattr__, __dir__ = window(__name__, _PLACES)

__all__ = ["InferenceEndpointsLLM", "TransformersLLM"]  # imported when first asked for
