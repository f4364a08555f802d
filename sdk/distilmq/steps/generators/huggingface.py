"""Rows from the Hugging Face Hub, from files and from what `save_to_disk` wrote."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar, Optional, cast

from pydantic import Field

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.steps.generators import fingerprints
from distilmq.steps.generators.data_files import (
    files_of,
    filetype_of,
    known_filetype,
    local_files,
    patterns_of,
    reading_options,
    remote_files,
)
from distilmq.steps.generators.dataset_loader import DatasetLoader
from distilmq.steps.generators.dataset_rows import Known, check_streaming, first_of_split, no_rows, one_split
from distilmq.steps.generators.hub_commit import commit_of
from distilmq.utils.untyped import untyped

_log = logging.getLogger("distilmq.steps.generators")


class LoadDataFromHub(DatasetLoader):
    """Gives the rows of a dataset on the Hugging Face Hub, or of anything else that `load_dataset` takes.

    Attributes:
        repo_id: the dataset's name on the Hub.
        split: the split to load, `train` when not given.
        config: the configuration to load, where the dataset has several.
        revision: the branch, tag or commit to load.
        streaming: read the rows as they are needed instead of downloading all files first.
        num_examples: give no more rows than this; all when not given.
        storage_options: what the file system of the data needs to be told.

    Output columns:
        - dynamic: the columns of the dataset.

    Categories:
        - load

    Examples:
        Load a dataset from the Hub:

        ```python
        from distilmq.steps import LoadDataFromHub

        loader = LoadDataFromHub(repo_id="distilabel-internal-testing/instruction-dataset-mini", split="test")
        ```
    """

    repo_id: RuntimeParameter[str] = Field(
        default=None, description="The Hugging Face Hub repository ID of the dataset to load."
    )
    split: RuntimeParameter[str] = Field(
        default="train", description="The split of the dataset to load. Defaults to 'train'."
    )
    config: Optional[RuntimeParameter[str]] = Field(  # noqa: UP045  # the marker of an optional parameter
        default=None, description="The configuration of the dataset to load."
    )
    revision: Optional[RuntimeParameter[str]] = Field(  # noqa: UP045  # ditto
        default=None, description="The revision of the dataset to load. Defaults to the latest."
    )
    streaming: RuntimeParameter[bool] = Field(
        default=False, description="Whether to load the dataset in streaming mode or not. Defaults to False."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"streaming"})

    def _open(self) -> Any:
        check_streaming(self.name, self.split, bool(self.streaming))
        return self._loaded(self.split, streaming=bool(self.streaming))

    def _peek(self) -> Known:
        """Reads the dataset's description; where that says nothing of columns, the first row of a stream."""
        check_streaming(self.name, self.split, bool(self.streaming))
        hub = untyped("datasets")
        builder = hub.load_dataset_builder(
            self._source, name=self.config, revision=self.revision, storage_options=self.storage_options
        )
        splits = cast("dict[str, Any]", builder.info.splits or {})
        rows: int | None = splits[self.split].num_examples if self.split in splits else None
        if builder.info.features is not None:
            return Known(list(builder.info.features), builder.info.features, rows or None)
        known = Known.of(self._loaded(first_of_split(self.split, list(splits)), streaming=True))
        return Known(known.columns, known.features, known.rows or rows or None)

    def input_fingerprint(self) -> str:
        """The commit of the dataset on the Hub; of a local folder, the state of its files."""
        if Path(self._source).exists():
            return fingerprints.of_files([self._source])
        commit = commit_of(self._source, self.revision)
        if commit is None:
            _log.warning("The commit of '%s' is not known: changes of it go unnoticed", self._source)
            return ""
        return f"commit {commit}"

    @property
    def _source(self) -> str:
        if not self.repo_id:
            raise DistilmqUserError(f"Step '{self.name}' needs `repo_id`: the name of a dataset on the Hub.")
        return self.repo_id

    def _loaded(self, split: str | None, *, streaming: bool) -> Any:
        hub = untyped("datasets")
        dataset = hub.load_dataset(
            self._source,
            self.config,
            split=split,
            revision=self.revision,
            streaming=streaming,
            storage_options=self.storage_options,
        )
        return one_split(dataset, split, self._source)


class LoadDataFromFileSystem(DatasetLoader):
    """Gives the rows of CSV, JSON, JSON lines, Parquet, Arrow or text files, here or on another file system.

    Attributes:
        data_files: a file, a folder, a pattern, a list of these, or a dict from splits to these.
        filetype: what the files are, as `datasets` calls it (`csv`, `json`, `parquet`, …); told by their suffix
            when not given.
        split: the split to load, `train` when not given.
        streaming: read the rows as they are needed instead of converting all files first.
        num_examples: give no more rows than this; all when not given.
        storage_options: what the file system of the data needs to be told.

    Output columns:
        - dynamic: the columns of the files.

    Categories:
        - load

    Examples:
        Load JSON lines:

        ```python
        from distilmq.steps import LoadDataFromFileSystem

        loader = LoadDataFromFileSystem(data_files="path/to/data.jsonl")
        ```
    """

    data_files: RuntimeParameter[str | Path | list[str] | dict[str, str | list[str]]] = Field(
        default=None,
        description="The data files, or directory containing the data files, to generate the dataset from.",
    )
    filetype: Optional[RuntimeParameter[str]] = Field(  # noqa: UP045  # the marker of an optional parameter
        default=None, description="The expected filetype. If not provided, it will be inferred from the file extension."
    )
    split: RuntimeParameter[str] = Field(
        default="train", description="The split of the dataset to load. Defaults to 'train'."
    )
    streaming: RuntimeParameter[bool] = Field(
        default=False, description="Whether to load the dataset in streaming mode or not. Defaults to False."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"streaming"})
    load_ignored: ClassVar[frozenset[str]] = frozenset({"repo_id", "config", "revision"})

    def _open(self) -> Any:
        check_streaming(self.name, self.split, bool(self.streaming))
        return self._loaded(self._files(), self.split, streaming=bool(self.streaming))

    def _peek(self) -> Known:
        """Reads the first rows."""
        check_streaming(self.name, self.split, bool(self.streaming))
        files = self._files()
        return Known.of(self._loaded(files, first_of_split(self.split, list(files)), streaming=True))

    def input_fingerprint(self) -> str:
        """The state of the files, wherever they lie."""
        files = self._files()
        remote = remote_files(files)
        told = [fingerprints.of_remote_files(remote, self.storage_options)] if remote else []
        return " ".join([fingerprints.of_files(local_files(files)), *told])

    def _files(self) -> dict[str, list[str]]:
        if self.data_files is None:
            raise DistilmqUserError(f"Step '{self.name}' needs `data_files`: files, or a folder of files.")
        base_split = (self.split or "train").partition("[")[0]
        return files_of(self.data_files, self._known_filetype, base_split, self.storage_options)

    @property
    def _known_filetype(self) -> str | None:
        return None if self.filetype is None else known_filetype(self.filetype)

    def _loaded(self, files: dict[str, list[str]], split: str | None, *, streaming: bool) -> Any:
        hub = untyped("datasets")
        options: dict[str, Any] = {
            "path": self._known_filetype or filetype_of(files),
            "data_files": patterns_of(files),
            "storage_options": self.storage_options,
            **reading_options(files, self.filetype),
        }
        try:
            dataset = hub.load_dataset(**options, split=split, streaming=streaming)
        except StopIteration:  # it looked for a first row that tells the columns
            return no_rows()
        except ValueError as error:
            if "corresponds to no data" not in str(error):
                raise
            return no_rows(hub.load_dataset_builder(**options).info.features)
        return one_split(dataset, split, str(self.data_files))


class LoadDataFromDisk(DatasetLoader):
    """Gives the rows of what `save_to_disk` of a dataset or a Distiset wrote.

    Attributes:
        dataset_path: the folder.
        is_distiset: whether a Distiset lies there.
        config: which of its subsets to load, `default` when not given.
        split: which split to load; may be left out where there is one only.
        keep_in_memory: read the dataset into memory.
        num_examples: give no more rows than this; all when not given.
        storage_options: what the file system of the data needs to be told.

    Output columns:
        - dynamic: the columns of the dataset.

    Categories:
        - load

    Examples:
        Load what an earlier pipeline made:

        ```python
        from distilmq.steps import LoadDataFromDisk

        loader = LoadDataFromDisk(dataset_path="path/to/distiset", is_distiset=True, config="leaf_step")
        ```
    """

    dataset_path: RuntimeParameter[str | Path] = Field(default=None, description="Path to the dataset or distiset.")
    is_distiset: RuntimeParameter[bool] = Field(
        default=False, description="Whether the dataset to load is a `Distiset` or not. Defaults to False."
    )
    config: Optional[RuntimeParameter[str]] = Field(  # noqa: UP045  # the marker of an optional parameter
        default="default", description="The configuration of the `Distiset` to load. Defaults to 'default'."
    )
    split: Optional[RuntimeParameter[str]] = Field(  # noqa: UP045  # ditto
        default=None, description="The split of the dataset to load. Needed where there are several."
    )
    keep_in_memory: Optional[RuntimeParameter[bool]] = Field(  # noqa: UP045  # ditto
        default=None, description="Whether to copy the dataset in-memory. Defaults to None."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"keep_in_memory"})
    load_ignored: ClassVar[frozenset[str]] = frozenset({"repo_id", "revision", "streaming"})

    def _open(self) -> Any:
        disk = untyped("datasets")
        folder = self._folder()
        dataset = disk.load_from_disk(folder, keep_in_memory=self.keep_in_memory, storage_options=self.storage_options)
        return one_split(dataset, self.split, folder)

    def input_fingerprint(self) -> str:
        """The state of the files, wherever they lie."""
        folder = self._folder()
        if "://" in folder:
            return fingerprints.of_remote_files([folder], self.storage_options)
        return fingerprints.of_files([folder])

    def _folder(self) -> str:
        if self.dataset_path is None:
            raise DistilmqUserError(f"Step '{self.name}' needs `dataset_path`: the folder that was saved to.")
        folder = str(self.dataset_path).rstrip("/")
        if not self.is_distiset:
            return folder
        config = self.config or "default"
        if "://" not in folder and not (Path(folder) / config).is_dir():
            known = sorted(path.name for path in Path(folder).glob("*") if (path / "dataset_dict.json").is_file())
            raise DistilmqUserError(f"The Distiset in '{folder}' has no configuration '{config}', but {known}.")
        return f"{folder}/{config}"
