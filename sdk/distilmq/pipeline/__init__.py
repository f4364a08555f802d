"""Pipelines of steps, and the routing functions between them."""

from __future__ import annotations

from distilmq.pipeline.estimate import Estimate, StepEstimate
from distilmq.pipeline.pipeline import Pipeline
from distilmq.pipeline.ray import RayPipeline
from distilmq.pipeline.routing_batch_function import routing_batch_function, sample_n_steps
from distilmq.pipeline.usage import ModelUsage, RunUsage
from distilmq.utils.not_yet import window

__all__ = [
    "Estimate",
    "ModelUsage",
    "Pipeline",
    "RayPipeline",
    "RunUsage",
    "StepEstimate",
    "routing_batch_function",
    "sample_n_steps",
]

NOT_YET = ["InstructionResponsePipeline"]
"""Names of distilabel that are not built."""

_NO_MODULES = ["base", "batch", "batch_manager", "step_wrapper", "templates", "typing", "write_buffer"]

__getattr__, _ = window(__name__, {}, NOT_YET, modules=_NO_MODULES)
