"""Tasks: steps that ask a language model about each row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from pydantic import BaseModel, Field, PositiveInt

from distilmq.constants import DISTILMQ_METADATA_KEY, ERROR_PREFIX
from distilmq.errors import DrainedError, RequestError, RequestsFailedError, RowsFailedError, StepFatalError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.base import LLM
from distilmq.models.llms.shapes import plain_input, plain_shape
from distilmq.models.requests.answers import asking_for
from distilmq.models.requests.usage import per_generation, repeated
from distilmq.steps.base import (
    GeneratorStep,
    GlobalStep,
    Step,
    StepInput,
    _Step,  # pyright: ignore[reportPrivateUsage]  # distilabel's name of it
)
from distilmq.steps.remarks import remark_counts, remark_failure, remark_row
from distilmq.typing import GenerateOutput, Row, StepOutput
from distilmq.utils.columns import as_requirements
from distilmq.utils.not_yet import window

__getattr__, _ = window(__name__, {}, ["ImageTask"])

IN_BATCH_JOBS = 1024
"""Batches at once of a task whose model is asked through batch jobs: of 50 rows each, as many as fill a large job."""
GENERATION_ERRORS = "generation_errors_"
"""With a task's name: in the metadata of a row with several generations, why one of them is None."""
_MOST_OF_AN_ERROR = 500
"""Characters of one in the metadata."""
_OF_THE_ANSWER = ("errors", "generations", "statistics")
"""Parts of a model's output that have a place of their own; the others become columns `llm_<step>_<part>`."""


class _Task(_Step, ABC):
    """What all tasks have in common.

    Attributes:
        llm: the model that is asked.
        group_generations: one row with lists of `num_generations` values, instead of as many rows.
        add_raw_output: keep what the model said, as it said it, in the metadata.
        add_raw_input: keep what the model was asked in the metadata.
        num_generations: how many answers per row.
        use_default_structured_output: ask the model for answers of the task's own schema, where it has one.

    A task is at several batches at once, each in a thread of its own, where its model can be asked so; a class whose
    methods keep something between rows says `concurrent_batches = False`.
    """

    concurrent_batches: ClassVar[bool] = True

    llm: LLM
    group_generations: bool = False
    add_raw_output: RuntimeParameter[bool] = Field(
        default=True,
        description="Whether to include the raw output of the LLM in the key `raw_output_<TASK_NAME>` of the"
        " `distilmq_metadata` dictionary output column",
    )
    add_raw_input: RuntimeParameter[bool] = Field(
        default=True,
        description="Whether to include the raw input of the LLM in the key `raw_input_<TASK_NAME>` of the"
        " `distilmq_metadata` dictionary column",
    )
    num_generations: RuntimeParameter[PositiveInt] = Field(
        default=1, description="The number of generations to be produced per input."
    )
    use_default_structured_output: bool = False

    # ------------------------------------------------------------ life cycle

    def load(self) -> None:
        """Loads the model."""
        super().load()
        self._set_default_structured_output()
        self.llm.load()

    def unload(self) -> None:
        """Unloads the model."""
        self.llm.unload()
        super().unload()

    def verify_arguments(self) -> None:
        """As of every step; the model must know the generation arguments that it was given."""
        super().verify_arguments()
        self.llm.check_generation_kwargs()

    # ------------------------------------------------------------ what a task says about itself

    @property
    def takes_batches_at_once(self) -> bool:
        """Whether this task and its model may be at several batches at once."""
        return super().takes_batches_at_once and self.llm.concurrent_batches

    @property
    def most_batches_at_once(self) -> int:
        """As of every step; more where its model is asked through batch jobs, which are the better the larger."""
        more = self.takes_batches_at_once and self.llm.waits_for_jobs
        return IN_BATCH_JOBS if more else super().most_batches_at_once

    @abstractmethod
    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
        """The columns that an answer stands for.

        Args:
            output: what the model said; None where it said nothing.
            input: the row it was asked about.
        """
        ...

    def get_structured_output(self) -> dict[str, Any] | type[BaseModel] | None:
        """The JSON schema, or the pydantic model, of the answers that the task asks for by default, if it has one."""
        return None

    # ------------------------------------------------------------ from answers to rows

    def rows_of(self, row: Row, asked: Any, output: GenerateOutput) -> list[Row]:
        """The rows (one, when generations are grouped) that the model's output for a row stands for."""
        generations = output["generations"]
        statistics = per_generation(cast("Mapping[str, Any]", output.get("statistics")), len(generations))
        columns = self._more_columns(output, len(generations))
        errors = output.get("errors") or [None] * len(generations)
        made: list[Row] = []
        metadata: list[dict[str, Any]] = []
        for index, generation in enumerate(generations):
            if (error := errors[index]) is not None:
                remark_failure(error, getattr(error, "answer", None), index)
            formatted = self._formatted(generation, row, index)
            if generation is None:  # the row comes out as it should, and does not hide
                remark_failure(RequestError(f"'{self.llm.model_name}' gave no answer"), None, index)
            own = _metadata_of(formatted)
            formatted.pop(DISTILMQ_METADATA_KEY, None)
            made.append({**formatted, **{name: values[index] for name, values in columns.items()}})
            metadata.append({**own, **self._metadata(generation, asked, statistics[index])})
            if error is not None and not self.group_generations:
                metadata[-1][f"{ERROR_PREFIX}{self.name}"] = _short(error)
        before = _metadata_of(row)
        if self.group_generations:
            together = {name: [each.get(name) for each in made] for name in dict.fromkeys(n for m in made for n in m)}
            made, metadata = [together], [self._grouped(metadata)]
            if any(errors):
                metadata[0][f"{GENERATION_ERRORS}{self.name}"] = [each and _short(each) for each in errors]
        return [
            {**row, **columns, "model_name": self.llm.model_name, DISTILMQ_METADATA_KEY: {**before, **told}}
            for columns, told in zip(made, metadata, strict=True)
        ]

    def failed_row(self, row: Row) -> Row:
        """A row that failed before, passed on: no model is asked about it."""
        return {**row, **dict.fromkeys(as_requirements(self.outputs))}

    def _formatted(self, generation: str | None, row: Row, index: int) -> dict[str, Any]:
        """What `format_output` makes of an answer, one of several; None in each output column when it raises."""
        try:
            return dict(self.format_output(generation, row))
        except Exception as error:  # noqa: BLE001  # user code: the raw answer is kept, and was paid for
            self._logger.warning(
                "Task '%s' failed to format output: %s: %s. Saving raw response.",
                self.name,
                type(error).__name__,
                error,
            )
            remark_failure(error, generation, index)
            outputs = as_requirements(self.outputs)
            return {name: None for name in outputs if name not in ("model_name", DISTILMQ_METADATA_KEY)}

    def _metadata(self, generation: str | None, asked: Any, statistics: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if self.add_raw_output:
            told[f"raw_output_{self.name}"] = generation
        if self.add_raw_input:
            told[f"raw_input_{self.name}"] = asked
        if statistics:
            told[f"statistics_{self.name}"] = statistics
        return told

    def _grouped(self, metadata: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The metadata of all generations as one: lists, but for the input, which they share."""
        together: dict[str, Any] = {}
        for name in dict.fromkeys(name for told in metadata for name in told):
            values = [told.get(name) for told in metadata]
            if name == f"raw_input_{self.name}":
                together[name] = values[0]
            elif name == f"statistics_{self.name}":
                each = cast("list[dict[str, Any]]", values)
                together[name] = {key: [value.get(key) for value in each] for key in each[0]}
            else:
                together[name] = values
        return together

    def _more_columns(self, output: GenerateOutput, generations: int) -> dict[str, list[Any]]:
        """What the model gives beside text (log probabilities, …), per generation."""
        return {
            f"llm_{self.name}_{part}": repeated(values, generations)
            for part, values in cast("Mapping[str, Any]", output).items()
            if part not in _OF_THE_ANSWER
        }

    def _set_default_structured_output(self) -> None:
        if not self.use_default_structured_output:
            return
        shape = self.get_structured_output()
        if shape is None:
            return
        if not self.llm.shapes_answers:
            self._logger.warning(
                "Task '%s' has a structured output, which `%s` does not support: it is not used.",
                self.name,
                type(self.llm).__name__,
            )
        elif getattr(self.llm, "structured_output", None) is None:
            wanted: Any = shape if isinstance(shape, dict) and "schema" in shape else {"schema": shape}
            self.llm.structured_output = plain_shape(wanted)  # pyright: ignore[reportAttributeAccessIssue]  # checked above


class Task(_Task, Step, ABC):
    """Asks a model about each row: `format_input` says what, `format_output` what its answer stands for.

    Rows come out with the output columns, `model_name` and the metadata: `raw_input_<name>`, `raw_output_<name>`
    and `statistics_<name>` with the tokens of the generation.
    """

    operational_fields: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def format_input(self, input: dict[str, Any]) -> Any:
        """What the model is asked about a row: a conversation, a text, or a pair of one with the answer's shape."""
        ...

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Asks the model about all rows at once, but for those that failed before.

        Raises:
            RowsFailedError: some rows failed; called without them, it finds the answers to the others.
        """
        live = [place for place, row in enumerate(inputs) if not has_failed(row)]
        failures: dict[int, Exception] = {}
        asked = self._asked(inputs, live, failures)
        answered = self._answered(asked, failures)
        if len(inputs) == 1 and failures:
            raise failures[0]
        if failures:
            raise RowsFailedError(dict(sorted(failures.items())), rows=len(inputs)) from next(iter(failures.values()))
        rows: list[Row] = []
        counts: list[int] = []
        for place, row in enumerate(inputs):
            remark_row(place)
            made = self.rows_of(row, asked[place], answered[place]) if place in answered else [self.failed_row(row)]
            rows += made
            counts.append(len(made))
        remark_counts(counts)
        yield rows

    def _asked(self, rows: Sequence[Row], live: Sequence[int], failures: dict[int, Exception]) -> dict[int, Any]:
        """What the model is asked about each row; a row that it cannot be asked about goes to `failures`."""
        asked: dict[int, Any] = {}
        for place in live:
            try:
                asked[place] = plain_input(self.format_input(rows[place]))
            except StepFatalError:
                raise
            except Exception as error:  # noqa: BLE001  # user code: it becomes the row's answer
                failures[place] = error
        return asked

    def _answered(self, asked: Mapping[int, Any], failures: dict[int, Exception]) -> dict[int, GenerateOutput]:
        """The model's outputs by row; rows whose requests failed go to `failures`."""
        if not asked:
            return {}
        places = list(asked)
        with asking_for(tuple(places)):
            try:
                outputs = self.llm.generate_outputs(
                    list(asked.values()), num_generations=self.num_generations or 1, **self.llm.get_generation_kwargs()
                )
            except RequestsFailedError as error:
                failures.update({places[place]: reason for place, reason in error.failures.items()})
                return {}
            except (StepFatalError, DrainedError):
                raise
            except Exception as error:
                if len(places) > 1:  # an engine that answers all or none: halving finds the row
                    raise
                failures[places[0]] = error
                return {}
        return dict(zip(places, outputs, strict=True))

    # ------------------------------------------------------------ showing

    def get_sample_input(self) -> dict[str, Any]:
        """A row with a placeholder in each input column, for `print`."""
        needed = [name for name, required in as_requirements(self.inputs).items() if required]
        return {name: f"<PLACEHOLDER_{name.upper()}>" for name in needed}

    def print(self, sample_input: dict[str, Any] | None = None) -> None:
        """Shows the prompt that the model gets, in the terminal.

        Args:
            sample_input: a row; placeholders when it is not given.
        """
        from distilmq.steps.tasks.showing import show_prompt

        show_prompt(self.name, self.format_input(sample_input or self.get_sample_input()))


class GeneratorTask(_Task, GeneratorStep, ABC):
    """Makes rows of its own by asking a model."""


class GlobalTask(Task, GlobalStep, ABC):  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
    """Asks a model when all rows are there."""


def has_failed(row: Row) -> bool:
    """Whether a step before failed on the row: no model is asked about it."""
    # Rows of a dataset that was read back have the keys of all rows: None where there was no error.
    return any(name.startswith(ERROR_PREFIX) and value is not None for name, value in _metadata_of(row).items())


def _short(error: Exception) -> str:
    """One line."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:_MOST_OF_AN_ERROR]


def _metadata_of(row: Row) -> dict[str, Any]:
    metadata = row.get(DISTILMQ_METADATA_KEY)
    return cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}


__all__ = ["GeneratorTask", "GlobalTask", "Task", "_Task"]
