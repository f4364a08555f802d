"""Putting a model that runs in this process on GPUs that no other model has."""

from __future__ import annotations

import os
from typing import ClassVar, Literal

from pydantic import BaseModel, Field, PrivateAttr

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.mixins import gpus


class CudaDevicePlacementMixin(BaseModel):
    """For models that may run on a GPU.

    Attributes:
        cuda_devices: which GPUs it runs on, by their numbers; `auto` takes such as no other model of this user's has.
        disable_cuda_device_placement: leave it to the engine where it runs.
    """

    cuda_devices: RuntimeParameter[list[int] | Literal["auto"]] = Field(
        default="auto", description="The CUDA devices that the model runs on, or `auto`."
    )
    disable_cuda_device_placement: RuntimeParameter[bool] = Field(
        default=False, description="Whether to leave it to the engine on which device it runs."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"cuda_devices", "disable_cuda_device_placement"})
    process_bound: ClassVar[frozenset[str]] = frozenset({"_claim"})

    _claim: gpus.Claim | None = PrivateAttr(default=None)

    def load(self) -> None:
        """Makes its GPUs the only ones that this process sees; without any GPU it does nothing.

        Raises:
            DistilmqUserError: not enough GPUs are free.
        """
        if self.disable_cuda_device_placement:
            return
        if isinstance(self.cuda_devices, list):
            os.environ[gpus.VISIBLE] = ",".join(map(str, self.cuda_devices))
            return
        visible = gpus.visible_devices()
        if visible:
            self._claim = gpus.claim(visible, self._gpus_wanted(), who=type(self).__name__)
            os.environ[gpus.VISIBLE] = ",".join(self._claim.devices)

    def unload(self) -> None:
        """Lets others have its GPUs."""
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()

    def _gpus_wanted(self) -> int:
        return 1
