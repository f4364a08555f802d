"""What identifies the output of each step of a pipeline, and a pipeline as a whole.

The signature of a step covers its class, its code where that is the user's, its parameters of substance, the
data it reads, the routing in front of it, and the signatures of everything upstream: rows recorded under it
are the rows it would give now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from distilmq.pipeline.dag import Dag
from distilmq.steps.base import GeneratorStep
from distilmq.steps.routing import RoutingBatchFunction
from distilmq.utils.code import code_digest

_SHOWN = 16


@dataclass(frozen=True, slots=True)
class StepSignature:
    """The signature of a step within its pipeline, and the parts it is made of."""

    digest: str
    fields: dict[str, str]
    """Part to digest, to say which one changed."""


def sign(dag: Dag) -> dict[str, StepSignature]:
    """The signature of each step."""
    signatures: dict[str, StepSignature] = {}
    for name in dag:
        fields = _fields(dag, name, signatures)
        signatures[name] = StepSignature(_digest(fields), fields)
    return signatures


def plan_signature(dag: Dag, signatures: Mapping[str, StepSignature]) -> str:
    """What identifies the run of a pipeline: its steps, edges and routes."""
    parts = {f"step {name}": signatures[name].digest for name in dag}
    parts |= {f"edge {source} {target}": "" for source, target in dag.graph.edges()}
    return _digest(parts)


def aggregated_signature(signatures: Mapping[str, StepSignature]) -> str:
    """One digest of all signatures of steps."""
    return _digest({name: signature.digest for name, signature in signatures.items()})


def route_signature(route: RoutingBatchFunction) -> str:
    """What identifies the choices of a routing function."""
    return f"sample {route.sample}" if route.sample is not None else code_digest(route.routing_function)[:_SHOWN]


def _fields(dag: Dag, name: str, upstream: Mapping[str, StepSignature]) -> dict[str, str]:
    step = dag.steps[name]
    fields = {"name": name, **step.signature_fields()}
    if isinstance(step, GeneratorStep):
        fields["input"] = step.input_fingerprint()
    for place, source in enumerate(dag.graph.predecessors(name)):
        fields[f"upstream {place} {source}"] = upstream[source].digest
        if source in dag.routes:
            fields[f"route {source}"] = route_signature(dag.routes[source])
    return fields


def _digest(parts: Mapping[str, str]) -> str:
    text = "\0".join(f"{name}\0{parts[name]}" for name in sorted(parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
