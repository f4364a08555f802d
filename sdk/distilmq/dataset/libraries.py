"""The libraries without types, in one place: what is read from them here is `Any`, on purpose."""

from __future__ import annotations

from typing import Any

import datasets as _datasets  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types
import datasets.table as _table  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types
import fsspec as _fsspec  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types
import huggingface_hub as _hub
import pyarrow as _pyarrow  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types
import pyarrow.parquet as _parquet  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types

datasets: Any = _datasets
table: Any = _table
fsspec: Any = _fsspec
hub: Any = _hub
pa: Any = _pyarrow
pq: Any = _parquet
