"""Steps whose models are asked through their providers' batch jobs."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from distilmq.mixins.secrets import nested_models
from distilmq.models.llms.base import LLM
from distilmq.steps.base import _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of it

NEVER = 1e9
"""Seconds after which a batch that waits for a batch job counts as stalled."""


def asks_in_batch_jobs(step: _Step) -> bool:
    """Whether a batch of the step may wait for a batch job, which takes as long as its provider likes."""
    return any(llm.use_offline_batch_generation for llm in _llms(step))


def check_offline_batches(step: _Step) -> None:
    """Raises DistilmqNotImplementedError if a model of the step has no batch jobs that it could be asked through."""
    for llm in _llms(step):
        llm.check_offline_batches()


def ask_at_once(step: _Step) -> None:
    """Has the models of a step asked one request at a time: nobody tries a pipeline out for a day."""
    for llm in _llms(step):
        vars(llm)["use_offline_batch_generation"] = False


def _llms(model: BaseModel) -> Iterator[LLM]:
    for name in type(model).model_fields:
        for _, child in nested_models(model.__dict__.get(name)):
            if isinstance(child, LLM):
                yield child
            yield from _llms(child)
