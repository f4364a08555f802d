"""What some models have in common: templates by which a model asks itself, GPUs. Imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from distilmq.models.mixins.cuda_device_placement import CudaDevicePlacementMixin
    from distilmq.models.mixins.magpie import MagpieChatTemplateMixin

_PLACES = {
    "CudaDevicePlacementMixin": "distilmq.models.mixins.cuda_device_placement",
    "MagpieChatTemplateMixin": "distilmq.models.mixins.magpie",
}

__getattr__, __dir__ = window(__name__, _PLACES)

__all__ = ["CudaDevicePlacementMixin", "MagpieChatTemplateMixin"]  # imported when first asked for
