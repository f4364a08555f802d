"""Steps: what transforms rows, batch by batch or all at once, and what generates them."""

from __future__ import annotations

from distilmq.steps.base import GeneratorStep, GlobalStep, Step, StepInput, StepResources
from distilmq.steps.columns.combine import CombineOutputs
from distilmq.steps.columns.expand import ExpandColumns
from distilmq.steps.columns.group import GroupColumns
from distilmq.steps.columns.keep import KeepColumns
from distilmq.steps.columns.merge import MergeColumns
from distilmq.steps.decorator import step
from distilmq.steps.generators.data import LoadDataFromDicts
from distilmq.typing import GeneratorStepOutput, StepColumns, StepOutput

__all__ = [
    "CombineOutputs",
    "ExpandColumns",
    "GeneratorStep",
    "GeneratorStepOutput",
    "GlobalStep",
    "GroupColumns",
    "KeepColumns",
    "LoadDataFromDicts",
    "MergeColumns",
    "Step",
    "StepColumns",
    "StepInput",
    "StepOutput",
    "StepResources",
    "step",
]
