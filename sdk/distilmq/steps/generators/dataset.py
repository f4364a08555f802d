"""Rows from a `datasets.Dataset` that the script has."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import Field, PrivateAttr, field_validator

from distilmq.errors import DistilmqUserError
from distilmq.steps.base import GeneratorStep
from distilmq.steps.generators import fingerprints
from distilmq.steps.generators.dataset_loader import DatasetLoader
from distilmq.steps.generators.dataset_rows import Known
from distilmq.steps.generators.row_file import LARGE
from distilmq.utils.untyped import untyped

_SMALL = 64 * 1024**2
"""A dataset of no more bytes is part of the step's dump; of a larger one, the dump says where it lies."""

_ROWS_AT_ONCE = 1000


class LoadDataFromDataset(DatasetLoader):
    """Gives the rows of a `datasets.Dataset`; `make_generator_step` makes it.

    Attributes:
        dataset: the dataset.
        num_examples: give no more rows than this; all when not given.
        storage_options: not used.

    Output columns:
        - dynamic: the columns of the dataset.

    Categories:
        - load

    Examples:
        Load a dataset:

        ```python
        from datasets import Dataset

        from distilmq.steps import make_generator_step

        loader = make_generator_step(Dataset.from_dict({"instruction": ["1 + 1?"]}))
        loader.load()
        assert next(loader.process()) == ([{"instruction": "1 + 1?"}], True)
        ```
    """

    dataset: Any = Field(default=None, repr=False)

    operational_fields: ClassVar[frozenset[str]] = frozenset({"dataset"})  # the fingerprint stands for it
    dump_excluded: ClassVar[frozenset[str]] = frozenset({"dataset"})  # `dump` sees to it

    _file: str | None = PrivateAttr(default=None)
    """Where the dataset is when it does not travel within the step."""
    _format: dict[str, Any] = PrivateAttr(default_factory=dict[str, Any])
    _told: Known | None = PrivateAttr(default=None)

    @field_validator("dataset", mode="before")
    @classmethod
    def _from_dump(cls, dataset: Any) -> Any:
        return _undumped(cast("dict[str, Any]", dataset)) if isinstance(dataset, dict) else dataset

    def _open(self) -> Any:
        if self._file is None:
            return self.dataset
        return untyped("datasets").Dataset.from_file(self._file).with_format(**self._format)

    def _known(self) -> Known:
        return self._told or Known.of(self._open())

    def input_fingerprint(self) -> str:
        """A hash of the content of the dataset."""
        return fingerprints.of_dataset(self._open())

    def stored(self, folder: Path) -> GeneratorStep:
        """The same step with its dataset in a folder, when it is in memory, or picks rows of files.

        Written here and not by `save_to_disk`, which shows a progress bar of its own.
        """
        dataset = self.dataset
        if dataset is None or dataset.format["type"] == "custom":  # a function given by `set_transform`
            return self
        if dataset.cache_files and dataset._indices is None:  # pickled as the paths of its files
            return self
        return self._written(folder / "dataset.arrow")

    def apart(self, folder: Path) -> tuple[GeneratorStep, list[Path]]:
        """The same step, and the file with its dataset when it is large."""
        dataset = self.dataset
        if dataset is None or dataset.format["type"] == "custom" or dataset.data.nbytes <= LARGE:
            return self.carried(), []
        stored = self._written(folder / "dataset.arrow")
        path, stored._file = Path(cast("str", stored._file)), "dataset.arrow"
        return stored, [path]

    def find_data(self, folder: Path) -> None:
        """See `GeneratorStep.find_data`."""
        if self._file is not None:
            self._file = str(folder / self._file)

    def _written(self, target: Path) -> LoadDataFromDataset:
        dataset = self.dataset
        if not target.is_file():
            _write(dataset, target)
        stored = self.model_copy(update={"dataset": None})
        stored._told = Known.of(dataset)
        stored._file = str(target.resolve())
        given = dataset.format
        stored._format = {"type": given["type"], "columns": given["columns"], **given["format_kwargs"]}
        return stored

    def carried(self) -> GeneratorStep:
        """The same step with its dataset in memory, when it lies in files: those would be pickled as their paths.

        Raises:
            DistilmqUserError: it has a transform, which only the script can run.
        """
        dataset = self.dataset
        if dataset is None or (not dataset.cache_files and dataset._indices is None):
            return self
        if dataset.format["type"] == "custom":
            raise DistilmqUserError(
                f"The dataset of step '{self.name}' has a transform (`set_transform`), which does not travel to a"
                " broker. Use `dataset.map(...)` instead, or a step that does the same."
            )
        given = dataset.format
        inside = untyped("datasets").Dataset.from_buffer(untyped("pyarrow").py_buffer(_to_arrow(dataset)))
        formatted = inside.with_format(given["type"], columns=given["columns"], **given["format_kwargs"])
        return self.model_copy(update={"dataset": formatted})

    def dump(self, **options: Any) -> dict[str, Any]:
        """The step as plain data, with the dataset, or where it lies."""
        return {**super().dump(**options), "dataset": _dumped(self._open())}


def _dumped(dataset: Any) -> dict[str, Any]:
    if dataset.data.nbytes <= _SMALL:
        return {"arrow": base64.b64encode(_to_arrow(dataset)).decode("ascii")}
    if dataset.cache_files and dataset._indices is None:
        return {"files": [str(entry["filename"]) for entry in dataset.cache_files]}
    raise DistilmqUserError(
        f"A dataset of {dataset.data.nbytes // 1024**2} MiB in memory is too large to be part of a saved pipeline. Save"
        " it with `save_to_disk` or `push_to_hub`, and load it with `LoadDataFromDisk` or `LoadDataFromHub`."
    )


def _undumped(dumped: dict[str, Any]) -> Any:
    hub = untyped("datasets")
    if "arrow" in dumped:
        return hub.Dataset.from_buffer(untyped("pyarrow").py_buffer(base64.b64decode(dumped["arrow"])))
    missing = [file for file in dumped["files"] if not Path(file).is_file()]
    if missing:
        raise DistilmqUserError(f"The dataset of this pipeline lay in {missing}, which are not there (any more).")
    return hub.concatenate_datasets([hub.Dataset.from_file(file) for file in dumped["files"]])


def _to_arrow(dataset: Any) -> bytes:
    """The rows and features of a dataset as a compressed Arrow stream."""
    arrow = untyped("pyarrow")
    sink = arrow.BufferOutputStream()
    _write_stream(dataset, sink, arrow.ipc.IpcWriteOptions(compression="zstd"))
    return sink.getvalue().to_pybytes()


def _write(dataset: Any, path: Path) -> None:
    """Writes the rows and features as a file that is mapped into memory, all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        partial.chmod(0o600)
        _write_stream(dataset, file, None)
    partial.replace(path)


def _write_stream(dataset: Any, sink: Any, options: Any) -> None:
    schema = dataset.features.arrow_schema
    with untyped("pyarrow").ipc.new_stream(sink, schema, options=options) as writer:
        for table in dataset.with_format("arrow").iter(batch_size=_ROWS_AT_ONCE):
            writer.write_table(table.cast(schema))
