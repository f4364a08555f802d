"""`make_generator_step`: a generator step out of data that the script has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from distilmq.errors import DistilmqUserError
from distilmq.steps.base import GeneratorStep
from distilmq.steps.generators.data import LoadDataFromDicts
from distilmq.steps.resources import StepResources
from distilmq.utils.untyped import untyped

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]  # only tests install its types
    from datasets import Dataset  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types


def make_generator_step(
    dataset: Dataset | pd.DataFrame | list[dict[str, Any]],
    pipeline: Any = None,
    batch_size: int = 50,
    input_mappings: dict[str, str] | None = None,
    output_mappings: dict[str, str] | None = None,
    resources: StepResources | None = None,
    repo_id: str | None = "default_name",
) -> GeneratorStep:
    """Makes a generator step out of data that the script has.

    Args:
        dataset: rows as a list of dicts, a `datasets.Dataset` or a `pandas.DataFrame` (its index is left out).
        pipeline: the pipeline that the step joins; that of the surrounding `with` when not given.
        batch_size: how many rows the step yields at once.
        input_mappings: not used by generators.
        output_mappings: columns of the data to the names that they shall have.
        resources: what a replica needs.
        repo_id: not used: distilabel needs it for its caches.

    Raises:
        DistilmqUserError: the data is of another type.
    """
    del repo_id
    options: dict[str, Any] = {
        "pipeline": pipeline,
        "batch_size": batch_size,
        "input_mappings": input_mappings or {},
        "output_mappings": output_mappings or {},
        "resources": resources or StepResources(),
    }
    given = cast("Any", dataset)
    if isinstance(given, list):
        return LoadDataFromDicts(data=cast("list[dict[str, Any]]", given), **options)
    from distilmq.steps.generators.dataset import LoadDataFromDataset

    if _is_a(given, "pandas", "DataFrame"):
        given = untyped("datasets").Dataset.from_pandas(given, preserve_index=False)
    if _is_a(given, "datasets", "Dataset"):
        return LoadDataFromDataset(dataset=given, **options)
    raise DistilmqUserError(
        f"Dataset type not allowed: {type(given)}, must be one of: `datasets.Dataset`, `pd.DataFrame`,"
        " `list[dict[str, str]]`"
    )


def _is_a(value: Any, module: str, name: str) -> bool:
    """Whether a value is of a class of a module, which is not imported for that."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))
