"""Keys of models that nobody has: refused before anything starts, where it is known that the model will be loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from distilmq.errors import DistilmqUserError
from distilmq.mixins.secrets import nested_models
from distilmq.pipeline.dag import Dag
from distilmq.pipeline.signatures import StepSignature


def check_keys(dag: Dag, signatures: Mapping[str, StepSignature], cache_dir: Path | None) -> None:
    """Raises DistilmqUserError if a model needs a key, and neither it nor the environment has one.

    A step of which another run may have recorded everything is let pass: it need not be loaded. So is one that is
    loaded by code of the user's own, which may know the key.

    Args:
        dag: of a run on this machine: its workers have the same environment.
        signatures: of each step.
        cache_dir: where runs are kept; None for a run that takes nothing from others.
    """
    for name in dag:
        step = dag.steps[name]
        known = cache_dir is not None and (cache_dir / "signatures" / signatures[name].digest).exists()
        if known or not _loads_as_we_do(step):
            continue
        for model in _models(step):
            try:
                model.check_key()
            except DistilmqUserError as error:
                raise DistilmqUserError(f"Step '{name}': {error}") from None


def _models(owner: BaseModel) -> Iterator[Any]:
    """The models within a step, and within each other, that can say whether they have their key."""
    for field in type(owner).model_fields:
        for _, child in nested_models(owner.__dict__.get(field)):
            if hasattr(child, "check_key") and _loads_as_we_do(child):
                yield child
            yield from _models(child)


def _loads_as_we_do(loaded: object) -> bool:
    load: Any = getattr(type(loaded), "load", None)
    return str(getattr(load, "__module__", "")).startswith("distilmq.")
