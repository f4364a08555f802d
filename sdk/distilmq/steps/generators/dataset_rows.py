"""The rows of a `datasets.Dataset` or an `IterableDataset`, from any row on, and what is known of them before."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from distilmq.errors import DistilmqUserError
from distilmq.steps.generators.data import in_batches
from distilmq.typing import GeneratorStepOutput, Row
from distilmq.utils.untyped import untyped


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a dataset before its rows are read."""

    columns: list[str]
    features: Any = None
    """The `datasets.Features`, where they are known."""
    rows: int | None = None

    @classmethod
    def of(cls, dataset: Any) -> Known:
        """What an open dataset tells; of a stream without features the first row is read."""
        rows = len(dataset) if hasattr(dataset, "__len__") else None
        features = dataset.features
        if features is not None:
            return cls(list(features), features, rows)
        first = next(iter(dataset), cast("Row | None", None))
        return cls([], None, 0) if first is None else cls(list(first), None, rows)


def batches_of(dataset: Any, size: int, offset: int = 0, limit: int | None = None) -> GeneratorStepOutput:
    """The rows of a dataset in batches, each with whether it is the last.

    Args:
        dataset: a `Dataset`, read where it lies; or an `IterableDataset`, whose first rows are skipped.
        size: rows of a batch.
        offset: the first row to give.
        limit: give no row from this place on.
    """
    if not hasattr(dataset, "__len__"):
        left = None if limit is None else max(0, limit - offset)
        yield from in_batches(itertools.islice(dataset.skip(offset) if offset else dataset, left), size)
        return
    end = len(dataset) if limit is None else min(limit, len(dataset))
    start = min(offset, end)
    while True:
        stop = min(start + size, end)
        yield rows_of(dataset[start:stop]) if start < stop else [], stop >= end
        if stop >= end:
            return
        start = stop


def rows_of(columns: dict[str, Any]) -> list[Row]:
    """Columns, each with its values, as rows."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def one_split(dataset: Any, split: str | None, source: str) -> Any:
    """The dataset itself, or one of the splits of a `DatasetDict`.

    Raises:
        DistilmqUserError: there is no such split, or there are several and none was asked for.
    """
    if not isinstance(dataset, dict):
        return dataset
    splits = cast("dict[str, Any]", dataset)
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split not in splits:
        wanted = "give one of them as `split`" if split is None else f"'{split}' is none of them"
        raise DistilmqUserError(f"'{source}' has the splits {list(splits)}: {wanted}.")
    return splits[split]


def first_of_split(split: str | None, known: Sequence[str]) -> str | None:
    """A split that has the columns of what `train[:10]`, `train+test` or `all` selects, and can be streamed."""
    if split == "all" and known:
        return known[0]
    return None if split is None else re.split(r"[\[+]", split)[0].strip()


def check_streaming(step: str, split: str | None, streaming: bool) -> None:
    """Raises DistilmqUserError when a part of a split is to be streamed, which `datasets` does not offer."""
    if streaming and split is not None and "[" in split:
        raise DistilmqUserError(
            f"Step '{step}' cannot stream '{split}': parts of a split are not streamed. Use `num_examples` for its"
            " first rows, or `streaming=False`."
        )


def no_rows(features: Mapping[str, Any] | None = None) -> Any:
    """A dataset without rows, and without columns where nothing tells them."""
    return untyped("datasets").Dataset.from_dict({name: [] for name in features or {}}, features=features)
