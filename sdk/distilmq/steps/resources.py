"""What a replica of a step needs of the machine."""

from __future__ import annotations

from typing import Optional

from pydantic import ConfigDict, PositiveInt

from distilmq.mixins.runtime_parameters import RuntimeParameter, RuntimeParametersMixin
from distilmq.mixins.serialization import Serializable


class StepResources(RuntimeParametersMixin, Serializable):
    """How many replicas of a step run, and what each of them needs.

    Attributes:
        replicas: how many processes run the step side by side.
        cpus: CPU cores of a replica.
        gpus: GPUs of a replica.
        memory: memory of a replica, in bytes.
        resources: custom resources of a replica, name to amount; its host must offer as much of each.
        labels: what the replica's host must be labelled with, name to value, as in `distilmq worker --labels zone=eu`.
            Replicas on one host share its labels, and use up its resources.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    replicas: Optional[RuntimeParameter[PositiveInt]] = 1  # noqa: UP045  # the marker of an optional parameter
    cpus: Optional[RuntimeParameter[PositiveInt]] = None  # noqa: UP045  # ditto
    gpus: Optional[RuntimeParameter[PositiveInt]] = None  # noqa: UP045  # ditto
    memory: Optional[RuntimeParameter[PositiveInt]] = None  # noqa: UP045  # ditto
    resources: Optional[RuntimeParameter[dict[str, int]]] = None  # noqa: UP045  # ditto
    labels: Optional[RuntimeParameter[dict[str, str]]] = None  # noqa: UP045  # ditto
