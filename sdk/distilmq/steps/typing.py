"""distilabel's older import path for the types of steps."""

from __future__ import annotations

from distilmq.typing import GeneratorStepOutput, StepColumns, StepOutput

__all__ = ["GeneratorStepOutput", "StepColumns", "StepOutput"]
