"""Pipelines of steps, and the routing functions between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.pipeline.estimate import Estimate, StepEstimate
from distilmq.pipeline.last_run import LastRun
from distilmq.pipeline.pipeline import Pipeline
from distilmq.pipeline.ray import RayPipeline
from distilmq.pipeline.routing_batch_function import routing_batch_function, sample_n_steps
from distilmq.pipeline.usage import ModelUsage, RunUsage
from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from distilmq.pipeline.submitted_run import SubmittedRun

__all__ = [
    "Estimate",
    "LastRun",
    "ModelUsage",
    "Pipeline",
    "RayPipeline",
    "RunUsage",
    "StepEstimate",
    "SubmittedRun",
    "routing_batch_function",
    "sample_n_steps",
]

NOT_YET = ["InstructionResponsePipeline"]
"""Names of distilabel that are not built."""

_NO_MODULES = ["base", "batch", "batch_manager", "step_wrapper", "templates", "typing", "write_buffer"]

_PLACES = {"SubmittedRun": "distilmq.pipeline.submitted_run"}
"""What most scripts do without, imported when first asked for."""

__getattr__, _ = window(__name__, _PLACES, NOT_YET, modules=_NO_MODULES)
