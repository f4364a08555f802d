"""A pipeline as data: what a client submits and the journal keeps, so that a run goes on without its script.

The coordinator reads everything here except the pickled definitions, which it hands on to workers. Plans
may hold what the user put into their code: they are stored with mode 0600 and never shown.
"""

from __future__ import annotations

import platform
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from distilmq.protocol.failure_filter import FailureFilter
from distilmq.protocol.packing import pack, unpack

FORMAT = 1


class PlanPart(BaseModel):
    """A part of a plan; unknown fields of a newer minor version are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ResourceSpec(PlanPart):
    """What a replica needs."""

    replicas: int = 1
    cpus: int | None = None
    gpus: int | None = None
    memory: int | None = None
    resources: dict[str, int] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    """What its host must be labelled with."""


class DataFile(PlanPart):
    """A file that a step's data lies in, where it is too large to be part of the plan."""

    name: str
    """As the step knows it."""
    size: int
    digest: str
    """BLAKE2b of 32 bytes, as hexadecimal digits: what it is asked for by."""


class StepSpec(PlanPart):
    """One step, as the coordinator sees it."""

    name: str
    kind: Literal["generator", "normal", "global"]
    size: int
    """Rows per batch: `input_batch_size`, of a generator `batch_size`."""
    predecessors: tuple[str, ...] = ()
    """In the order in which they were connected."""
    multiple_inputs: bool = False
    """`process` takes `*inputs`, one list per predecessor."""
    resources: ResourceSpec = ResourceSpec()
    outputs: tuple[str, ...] = ()
    """Output columns after mappings: None in a failed row."""
    signature: str = ""
    """Of class, code, parameters of substance, input fingerprint and everything upstream."""
    signature_fields: dict[str, str] = Field(default_factory=dict)
    """Field to digest, to say which one changed."""
    use_cache: bool = True
    stateful: bool = False
    """Keeps state between batches: one that failed is not called again for its halves."""
    models: bool = False
    """Calls a model: its outputs are kept when a finished run is pruned."""
    batch_timeout: float | None = None
    max_failure_rate: float | None = None
    """Share of the last rows that may fail before the run pauses; None for any."""
    stall_after: float = 60.0
    max_batches: int | None = None
    """Of a generator: stop after this many (a dry run takes one)."""
    known_rows: int | None = None
    """Of a generator: how many rows it is expected to give, for the progress view."""
    secrets: dict[str, str] = Field(default_factory=dict)
    """Of a step that travels to a broker: the fields whose values are secret and not in the plan, each to the
    environment variable that the value comes from, or to nothing where the user gave it."""
    definition: bytes = Field(default=b"", repr=False)
    """The step by cloudpickle, without secrets."""
    data: tuple[DataFile, ...] = ()
    """Of a step that travels to a broker: files that its process has to have before it is loaded."""


class RouteSpec(PlanPart):
    """The routing function behind one step."""

    step: str
    sample: int | None = None
    """`sample_n_steps(n)`, as data."""
    function: bytes = Field(default=b"", repr=False)
    """Any other function, bare, by cloudpickle."""
    signature: str = ""
    """Of that function's code: while it stays, so do the choices that were recorded."""


class Revision(PlanPart):
    """What a run does again of another one: its failed rows, and what was made from them."""

    of: str
    """The folder of the run that is revised."""
    only: FailureFilter = FailureFilter()


class Storage(PlanPart):
    """A file system by way of which rows go between coordinator and workers."""

    path: str
    """A URL that fsspec knows."""
    options: dict[str, Any] = Field(default_factory=dict, repr=False)
    """Arguments of the file system."""
    everything: bool = True
    """Rows of all batches; False: only those that a global step takes and gives."""


class RunSettings(PlanPart):
    """How the run behaves; none of it changes what comes out."""

    stop_timeout: float = 120.0
    waiting_rows: int = 10_000
    """Backpressure: a generator is asked for more while fewer rows than this wait in loaded steps."""
    durability: Literal["process", "power"] = "process"
    heartbeat: float = 1.0
    liveness: float = 15.0
    use_cache: bool = True
    dry_run: bool = False
    revises: Revision | None = None
    """Of a run that begins: take this over from another one, but for its failed rows."""
    read_only: bool = False
    """Start nothing and record nothing: only answer what clients ask about what is recorded."""
    storage: Storage | None = None
    log_level: str = "INFO"
    max_cost: float | None = None
    """US dollars: when the run has cost as much, it asks models nothing more and stops."""
    max_tokens: int | None = None
    """The same for tokens, input and output together."""


class DatasetSpec(PlanPart):
    """What whoever fetches the rows needs to make the dataset of them."""

    config: str = ""
    """The pipeline as `pipeline.yaml`."""
    columns: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Of each leaf, for when it has no row."""
    features: str = ""
    """What datasets that were given declare of their columns: `datasets.Features` as JSON; empty for nothing."""
    enable_metadata: bool = True


class Plan(PlanPart):
    """A pipeline ready to run."""

    format: int = FORMAT
    pipeline: str
    description: str = ""
    python: str = Field(default_factory=lambda: ".".join(platform.python_version_tuple()[:2]))
    """The minor version that pickled the definitions: another one must not load them."""
    steps: tuple[StepSpec, ...]
    """In topological order."""
    routes: tuple[RouteSpec, ...] = ()
    stages: tuple[tuple[str, ...], ...] = ()
    """Steps loaded together, in order; every step is in one."""
    settings: RunSettings = RunSettings()
    dataset: DatasetSpec = DatasetSpec()
    client_path: tuple[str, ...] = ()
    """`sys.path` entries of the script, so that its local modules import in local workers."""
    client_cwd: str = ""

    @property
    def leaves(self) -> tuple[str, ...]:
        """The steps that nothing follows: the Distiset has one subset for each."""
        followed = {name for step in self.steps for name in step.predecessors}
        return tuple(step.name for step in self.steps if step.name not in followed)

    def step(self, name: str) -> StepSpec:
        """The step of that name."""
        return next(step for step in self.steps if step.name == name)

    def successors(self, name: str) -> tuple[str, ...]:
        """The steps that take the output of this one, in plan order."""
        return tuple(step.name for step in self.steps if name in step.predecessors)


def encode_plan(plan: Plan) -> bytes:
    """A plan as msgpack."""
    return pack(plan.model_dump())


def decode_plan(data: bytes) -> Plan:
    """The plan in msgpack data; raises pydantic's `ValidationError` on anything else."""
    return Plan.model_validate(unpack(data))
