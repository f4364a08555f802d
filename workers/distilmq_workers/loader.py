"""A step from its definition: rebuilt, given its secrets and its folder, and loaded."""

from __future__ import annotations

from typing import cast

from distilmq.protocol.messages import Assign
from distilmq.steps.base import _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of the base class


def rebuild(assign: Assign, definition: bytes) -> _Step:
    """The step of an assignment, not loaded yet.

    The definition comes from a coordinator that checked this Python's version against the plan's: a pickle of
    another minor version may crash the interpreter.

    Raises:
        Exception: whatever the user's modules raise when they are imported.
    """
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]  # the library ships no stubs

    from distilmq.mixins.secrets import give_secrets

    step = cast(_Step, cloudpickle.loads(definition))
    give_secrets(step, assign.secrets)
    if assign.artifacts:
        step.keep_artifacts_in(assign.artifacts)
    return step
