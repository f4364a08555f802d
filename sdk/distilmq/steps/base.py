"""Steps: what transforms rows, what generates them, and what needs to see all of them at once."""

from __future__ import annotations

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

from pydantic import BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt, PrivateAttr

from distilmq.errors import DistilmqTypeError, DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter, RuntimeParametersMixin
from distilmq.mixins.serialization import Serializable
from distilmq.mixins.signature import Signed
from distilmq.steps.artifacts import write_artifact
from distilmq.steps.connecting import Connectable
from distilmq.steps.declaring import Declaring, current_pipeline
from distilmq.steps.inputs import StepInput, parameters_of, step_input_of
from distilmq.steps.mappings import Mappings
from distilmq.steps.names import free_name, valid_name
from distilmq.steps.resources import StepResources
from distilmq.typing import GeneratorStepOutput, Row, StepColumns, StepOutput
from distilmq.utils.columns import as_requirements, renamed, unique

DEFAULT_INPUT_BATCH_SIZE = 50
BATCHES_AT_ONCE = 256
"""Of a step that takes several: of one row each, they ask for as much as a model is ever asked."""


class _Step(RuntimeParametersMixin, Serializable, Signed, Connectable, ABC):
    """What all steps have in common.

    Attributes:
        name: the step's name, unique in its pipeline; made from the class's when it is not given.
        resources: how many replicas run, and what each of them needs.
        pipeline: the pipeline that the step is part of; that of the surrounding `with` when it is not given.
        input_mappings: the step's name of an input column to the column's own.
        output_mappings: the step's name of an output column to the one that it shall have.
        use_cache: whether what earlier runs recorded of the step may be taken.
        batch_timeout: how many seconds the step may be at one batch. A process that takes longer is ended, which
            counts as if the batch had killed it; None lets it take as long as it wants.
        max_failure_rate: the share of the last 100 rows, from 0 to 1, that may fail before the run pauses and asks;
            rows that met a rate limit are not counted. None lets all of them fail.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, validate_default=True, validate_assignment=True, extra="forbid"
    )

    name: Annotated[str, BeforeValidator(valid_name)] = ""
    resources: StepResources = Field(default_factory=StepResources)
    pipeline: Any = Field(default=None, exclude=True, repr=False)
    input_mappings: dict[str, str] = Field(default_factory=dict[str, str])
    output_mappings: dict[str, str] = Field(default_factory=dict[str, str])
    use_cache: bool = True
    batch_timeout: RuntimeParameter[PositiveFloat] | None = Field(
        default=None,
        description="The number of seconds that the step may be at one batch, before its process is ended.",
    )
    max_failure_rate: RuntimeParameter[Annotated[float, Field(ge=0, le=1)]] | None = Field(
        default=None,
        description="The share of the last 100 rows that may fail before the run pauses, from 0 to 1.",
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset(
        {"pipeline", "resources", "use_cache", "batch_timeout", "max_failure_rate"}
    )
    """Fields that do not change what comes out, so changing them keeps what is recorded; bases' are added."""

    stateful: ClassVar[bool] = False
    """Keeps state between batches: one that failed is not called again with its halves."""
    equal_inputs: ClassVar[bool] = False
    """A join of row by row: its lists must be equally long."""
    concurrent_batches: ClassVar[bool] = False
    """Whether `process` may be called for several batches at once, each in a thread of its own."""

    _logger: logging.Logger = PrivateAttr(default_factory=lambda: logging.getLogger("distilmq.step"))
    _artifacts_directory: Path | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Names the step and joins the pipeline."""
        super().model_post_init(context)
        pipeline = cast("Declaring | None", self.pipeline or current_pipeline.get())
        if not self.name:
            vars(self)["name"] = free_name(type(self).__name__, pipeline)
        self._logger = logging.getLogger(f"distilmq.step.{self.name}")
        vars(self)["pipeline"] = pipeline
        if pipeline is None:
            self._logger.warning(
                "Step '%s' hasn't received a pipeline, and it hasn't been created within a `Pipeline` context."
                " Please, use `with Pipeline() as pipeline:` and create the step within the context.",
                self.name,
            )
        else:
            pipeline.add_step(self)

    # ------------------------------------------------------------ life cycle

    def load(self) -> None:
        """Gets ready in the process that runs the step; an override calls `super().load()`."""
        self._logger = logging.getLogger(f"distilmq.step.{self.name}")

    def unload(self) -> None:
        """Gives back what `load` took."""

    # ------------------------------------------------------------ what it is

    @property
    def takes_batches_at_once(self) -> bool:
        """Whether this step, as it is, may be at several batches at once."""
        return self.concurrent_batches and self.is_normal and not self.stateful

    @property
    def most_batches_at_once(self) -> int:
        """How many batches one process of this step is at at most."""
        return BATCHES_AT_ONCE if self.takes_batches_at_once else 1

    @property
    def is_generator(self) -> bool:
        """Whether it makes rows of its own."""
        return isinstance(self, GeneratorStep)

    @property
    def is_global(self) -> bool:
        """Whether it takes all rows at once."""
        return isinstance(self, GlobalStep)

    @property
    def is_normal(self) -> bool:
        """Whether it takes rows batch by batch."""
        return not self.is_generator and not self.is_global

    # ------------------------------------------------------------ columns

    @property
    def inputs(self) -> StepColumns:
        """Columns that `process` needs, by the step's own names."""
        return []

    @property
    def outputs(self) -> StepColumns:
        """Columns that `process` adds, by the step's own names."""
        return []

    def get_inputs(self) -> dict[str, bool]:
        """Columns that the step needs, each with whether it is required, by their names in the rows."""
        return renamed(as_requirements(self.inputs), self.input_mappings)

    def get_outputs(self) -> dict[str, bool]:
        """Columns that the step adds, by their names in the rows."""
        return renamed(as_requirements(self.outputs), self.output_mappings)

    def kept_columns(self, available: Iterable[str]) -> list[str]:
        """The columns of the rows that come out, when rows with these columns go in."""
        return unique([*available, *self.get_outputs()])

    def verify_arguments(self) -> None:
        """Raises DistilmqUserError if the step cannot run with what it was given; called before anything is started."""

    def verify_inputs_mappings(self) -> None:
        """Raises DistilmqUserError if `input_mappings` names an input that the step does not have."""
        known = list(as_requirements(self.inputs))
        for name in self.input_mappings:
            if name not in known:
                raise DistilmqUserError(
                    f"The input column '{name}' doesn't exist in the inputs of the step '{self.name}'."
                    f" Inputs of the step are: {known}. Please, review the `input_mappings` argument of the step."
                )

    def verify_outputs_mappings(self) -> None:
        """Raises DistilmqUserError if `output_mappings` names an output that the step does not have."""
        if not self.output_mappings:
            return
        known = list(as_requirements(self.outputs))
        for name in self.output_mappings:
            if name not in known:
                raise DistilmqUserError(
                    f"The output column '{name}' doesn't exist in the outputs of the step '{self.name}'."
                    f" Outputs of the step are: {known}. Please, review the `output_mappings` argument of the step."
                )

    def impute_step_outputs(self, step_output: list[Row]) -> list[Row]:
        """Rows with None in every output column that they lack."""
        return [{**dict.fromkeys(self.get_outputs()), **row} for row in step_output]

    # ------------------------------------------------------------ process

    @property
    def process_parameters(self) -> list[inspect.Parameter]:
        """The parameters of `process`."""
        return parameters_of(self._process_function())

    def get_process_step_input(self) -> inspect.Parameter | None:
        """The parameter of `process` that takes rows, if there is one."""
        return step_input_of(self.process_parameters, self.name)

    def has_multiple_inputs(self) -> bool:
        """Whether `process` takes one list of rows per predecessor."""
        parameter = self.get_process_step_input()
        return parameter is not None and parameter.kind is inspect.Parameter.VAR_POSITIONAL

    def _process_function(self) -> Callable[..., Any]:
        """The function whose parameters are those of `process`."""
        return cast("Callable[..., Any]", getattr(type(self), "process"))  # noqa: B009  # each kind of step declares its own

    def _output(self, output: Any) -> Iterator[Any]:
        """What `process` gives, when there is something that could yield."""
        if output is None:
            raise DistilmqTypeError(
                f"`process` of the step '{self.name}' has to yield lists of dicts, it returned None: is its `yield`"
                " missing?"
            )
        return output

    def _checked(self, rows: Any) -> list[Row]:
        """Rows that `process` yielded, when they are rows."""
        if isinstance(rows, list) and all(isinstance(row, dict) for row in cast("list[Any]", rows)):
            return cast("list[Row]", rows)
        raise DistilmqTypeError(
            f"`process` of the step '{self.name}' has to yield lists of dicts, it yielded {_described(rows)}."
        )

    # ------------------------------------------------------------ artifacts

    @property
    def artifacts_directory(self) -> Path | None:
        """The folder of the step's artifacts, while it is part of a run."""
        return self._artifacts_directory

    def keep_artifacts_in(self, directory: Path | str) -> None:
        """Says where `save_artifact` writes."""
        self._artifacts_directory = Path(directory)

    def save_artifact(
        self, name: str, write_function: Callable[[Path], None], metadata: dict[str, Any] | None = None
    ) -> None:
        """Keeps files beside the dataset, which carries them when it is saved or pushed.

        Args:
            name: of the artifact; its folder is called so.
            write_function: is called with the folder, and writes files into it.
            metadata: is written beside them, as `metadata.json`.
        """
        if self._artifacts_directory is None:
            self._logger.warning("Cannot save artifact '%s' as the step '%s' is not part of a run", name, self.name)
            return
        write_artifact(self._artifacts_directory, name, write_function, metadata)

    # ------------------------------------------------------------ dumps and pickles

    def dump(self, **options: Any) -> dict[str, Any]:
        """The step as plain data, with what can be said about its runtime parameters."""
        return {**super().dump(**options), "runtime_parameters_info": self.get_runtime_parameters_info()}

    def __getstate__(self) -> dict[Any, Any]:
        """What pickling keeps: the step without its pipeline and its secrets."""
        state = super().__getstate__()
        state["__dict__"]["pipeline"] = None
        return state


class Step(_Step, ABC):
    """Transforms rows, batch by batch.

    Attributes:
        input_batch_size: how many rows `process` is given at once.
    """

    input_batch_size: RuntimeParameter[PositiveInt] = Field(
        default=DEFAULT_INPUT_BATCH_SIZE,
        description="The number of rows that will contain the batches processed by the step.",
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"input_batch_size"})

    @abstractmethod
    def process(self, *inputs: StepInput) -> StepOutput:
        """Transforms rows.

        Args:
            inputs: a list of rows, or with `*inputs: StepInput` one per predecessor.

        Yields:
            Lists of rows; all of them together, in order, are what comes out.
        """
        ...

    def process_applying_mappings(self, *inputs: list[Row]) -> StepOutput:
        """`process`, with the columns renamed as the mappings say; gives all that it yields."""
        if not (self.input_mappings or self.output_mappings):
            for rows in self._output(self.process(*inputs)):
                yield self._checked(rows)
            return
        mappings = Mappings(self.input_mappings, self.output_mappings, as_requirements(self.outputs))
        for rows in self._output(self.process(*([mappings.before(row) for row in rows] for rows in inputs))):
            yield [mappings.after(row) for row in self._checked(rows)]


class GeneratorStep(_Step, ABC):
    """Makes rows of its own: the beginning of a pipeline.

    Attributes:
        batch_size: how many rows it yields at once.
    """

    batch_size: RuntimeParameter[PositiveInt] = Field(
        default=DEFAULT_INPUT_BATCH_SIZE,
        description="The number of rows that will contain the batches generated by the step.",
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"batch_size"})

    _most_rows: int | None = PrivateAttr(default=None)
    """Of a batch in a dry run, for one whose `process` does not look at `batch_size`."""

    @abstractmethod
    def process(self, offset: int = 0) -> GeneratorStepOutput:
        """Generates rows.

        Args:
            offset: how many rows earlier runs have recorded: go on behind them.

        Yields:
            A list of rows, and whether it is the last.
        """
        ...

    def process_applying_mappings(self, offset: int = 0) -> GeneratorStepOutput:
        """`process`, with the columns renamed as `output_mappings` says."""
        produced = as_requirements(self.outputs) if self.output_mappings else {}
        mappings = Mappings({}, self.output_mappings, produced)
        for given in self._output(self.process(offset=offset)):
            rows, last = self._checked_pair(given)
            rows = rows[: self._most_rows]
            yield ([mappings.after(row) for row in rows] if mappings else rows), last

    def num_rows(self) -> int | None:
        """How many rows it will give, where that is known: for the progress view."""
        return None

    def features(self) -> Any:
        """The `datasets.Features` of its rows by their names outside, where a dataset was given; else None."""
        return None

    def input_fingerprint(self) -> str:
        """Names the data that the rows come from: it changes when they do. Empty when the parameters say all."""
        return ""

    def stored(self, folder: Path) -> GeneratorStep:
        """The same step with its data in files of a folder, so that it is cheap to send and can be resumed."""
        del folder
        return self

    def apart(self, folder: Path) -> tuple[GeneratorStep, list[Path]]:
        """As `carried`, but with data that is large in files of a folder, which are sent beside it."""
        del folder
        return self.carried(), []

    def find_data(self, folder: Path) -> None:
        """Tells a step that came `apart` where its files are."""
        del folder

    def carried(self) -> GeneratorStep:
        """The same step with its data in it, for a machine that has none of the files of this one."""
        return self

    def _checked_pair(self, given: Any) -> tuple[list[Row], bool]:
        if isinstance(given, tuple) and len(cast("tuple[Any, ...]", given)) == 2:
            rows, last = cast("tuple[Any, Any]", given)
            return self._checked(rows), bool(last)
        raise DistilmqTypeError(
            f"`process` of the generator step '{self.name}' has to yield pairs of a list of dicts and whether it is"
            f" the last, it yielded {_described(given)}."
        )


class GlobalStep(Step, ABC):
    """Takes all rows at once, when all steps before it are done."""


def _described(value: Any) -> str:
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            if not isinstance(item, dict):
                return f"a list with a '{type(item).__name__}' in it"
    if isinstance(value, dict):
        return "a 'dict' where a list of them was expected: write `yield [row]` or, of all rows, `yield rows`"
    return f"a '{type(cast('object', value)).__name__}'"


__all__ = [
    "DEFAULT_INPUT_BATCH_SIZE",
    "GeneratorStep",
    "GeneratorStepOutput",
    "GlobalStep",
    "Step",
    "StepColumns",
    "StepInput",
    "StepOutput",
    "StepResources",
    "_Step",
]
