"""Choosing successors: what a choice must look like, and the choices that need no user code."""

from __future__ import annotations

import random
import traceback
from collections.abc import Sequence

from distilmq.protocol.messages import ErrorInfo
from distilmq.protocol.seq_no import SeqNo, sort_key


class ChoiceError(Exception):
    """The routing function answered something that is no list of successors."""


def sample_steps(step: str, seq_no: SeqNo, successors: Sequence[str], count: int) -> tuple[str, ...]:
    """Some successors by chance, but the same for the same batch in every run."""
    if count > len(successors):
        raise ChoiceError(f"sample_n_steps({count}) behind step {step!r}, which has {len(successors)} successors")
    chance = random.Random(f"{step}\n{sort_key(seq_no)}")
    return checked_choice(step, successors, chance.sample(list(successors), count))


def checked_choice(step: str, successors: Sequence[str], choice: object) -> tuple[str, ...]:
    """The successors named in what a routing function answered, each once, in the order of the plan.

    Raises:
        ChoiceError: it is no list of successors.
    """
    if not isinstance(choice, list | tuple):
        raise no_list(step, f"{choice!r:.200}")
    names: Sequence[object] = list(choice)  # pyright: ignore[reportUnknownArgumentType]  # the user's value
    for name in names:
        if name not in successors:
            known = ", ".join(repr(successor) for successor in successors)
            raise ChoiceError(
                f"the routing function behind step {step!r} chose {name!r:.200}, which does not follow that step;"
                f" its successors are {known}"
            )
    return tuple(successor for successor in successors if successor in names)


def no_list(step: str, shown: str) -> ChoiceError:
    """The error for an answer that is no list, as text."""
    return ChoiceError(f"the routing function behind step {step!r} answered {shown}, not a list of step names")


def error_info(error: BaseException) -> ErrorInfo:
    """An exception as a message carries it."""
    text = "".join(traceback.format_exception(error))
    return ErrorInfo(type=type(error).__name__, message=str(error), traceback=text)
