"""What the loaders of `datasets` have in common: `load` opens the dataset, `process` gives its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Optional

from pydantic import Field, PositiveInt, PrivateAttr

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.steps.base import GeneratorStep
from distilmq.steps.generators.dataset_rows import Known, batches_of
from distilmq.typing import GeneratorStepOutput, StepColumns


class DatasetLoader(GeneratorStep, ABC):
    """Gives the rows of a dataset.

    Attributes:
        num_examples: give no more rows than this; all when not given.
        storage_options: what the file system of the data needs to be told.
    """

    num_examples: Optional[RuntimeParameter[PositiveInt]] = Field(  # noqa: UP045  # the marker of an optional one
        default=None,
        description="The number of examples to load from the dataset. By default will load all examples.",
    )
    storage_options: Optional[RuntimeParameter[dict[str, Any]]] = Field(  # noqa: UP045  # ditto
        default=None, repr=False, description="The storage options to use when reading the dataset."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"storage_options"})

    _dataset: Any = PrivateAttr(default=None)
    """Open between `load` and `unload`."""
    _seen: tuple[str, Known] | None = PrivateAttr(default=None)
    """What was found out about the dataset without loading it, and under which parameters."""

    @abstractmethod
    def _open(self) -> Any:
        """The `Dataset` or `IterableDataset` to give the rows of."""

    def _peek(self) -> Known:
        """What is known of the dataset, found as cheaply as possible."""
        return Known.of(self._open())

    def load(self) -> None:
        """Opens the dataset."""
        super().load()
        if self._dataset is None:
            self._dataset = self._open()

    def unload(self) -> None:
        """Closes the dataset."""
        self._dataset = None
        super().unload()

    def process(self, offset: int = 0) -> GeneratorStepOutput:
        """Gives the rows of the dataset, from an offset on.

        Args:
            offset: how many rows were given before.

        Yields:
            Rows, and whether they are the last.
        """
        yield from batches_of(self._dataset, self.batch_size or 1, offset, self.num_examples)

    @property
    def outputs(self) -> StepColumns:
        """The columns of the dataset."""
        return self._known().columns

    def features(self) -> Any:
        """The features of the dataset, by the names that the columns have outside."""
        found = self._known().features
        if found is None:
            return None
        return type(found)({self.output_mappings.get(name, name): feature for name, feature in found.items()})

    def num_rows(self) -> int | None:
        """How many rows there are to give, where the dataset knows."""
        rows = self._known().rows
        return rows if rows is None or self.num_examples is None else min(rows, self.num_examples)

    def _known(self) -> Known:
        """What is known of the dataset; found once per set of parameters."""
        if self._dataset is not None:
            return Known.of(self._dataset)
        parameters = repr(self.signature_fields())
        if self._seen is None or self._seen[0] != parameters:
            self._seen = (parameters, self._peek())
        return self._seen[1]

    def __getstate__(self) -> dict[Any, Any]:
        """What pickling keeps: the parameters, not the open dataset."""
        state = super().__getstate__()
        state["__pydantic_private__"] = {**state["__pydantic_private__"], "_dataset": None, "_seen": None}
        return state
