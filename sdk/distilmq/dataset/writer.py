"""A leaf's rows as files: Parquet to keep and to share, and the same as an Arrow stream that is mapped into memory.

Opening Parquet as a Dataset converts it first, once per row and without bound on time; a mapped Arrow file
is open in a millisecond and costs no memory. Both are written in one pass, shard by shard, in a folder
beside the final one, which takes its place when all is written.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from distilmq.dataset.columns import to_arrow
from distilmq.dataset.libraries import datasets, pa, pq
from distilmq.dataset.schema import Column, values_of
from distilmq.dataset.spool import Rows

SHARD_BYTES = 500_000_000


class LeafWriter:
    """Writes shards of one leaf under `<data>/<leaf>/` (Parquet) and `<data>/.arrow/<leaf>/`."""

    def __init__(self, data: Path, leaf: str, columns: Sequence[Column], *, shard_bytes: int = SHARD_BYTES) -> None:
        self._columns = [(column.name, column.feature) for column in columns]
        self._schema: Any = datasets.Features({column.name: column.feature for column in columns}).arrow_schema
        self._shard_bytes = shard_bytes
        folder = _folder(leaf)
        self._final = (data / folder, data / ".arrow" / folder)
        self._drafts = (data / f".{folder}-{uuid.uuid4().hex}", data / ".arrow" / f".{folder}-{uuid.uuid4().hex}")
        self._shard: _Shard | None = None
        self._shards = 0

    def __enter__(self) -> LeafWriter:
        for draft, final in zip(self._drafts, self._final, strict=True):
            _remove_drafts(final)
            draft.mkdir(parents=True)
        self._open_shard()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._close_shard()
            if error is None:
                self._publish()
        finally:
            for draft in self._drafts:
                shutil.rmtree(draft, ignore_errors=True)

    @property
    def files(self) -> list[Path]:
        """The Arrow files, in order, once all is written."""
        return [self._final[1] / f"{_shard_name(number)}.arrow" for number in range(self._shards)]

    def takes(self, columns: Sequence[Column]) -> bool:
        """Whether the files have these columns, of these types."""
        return [(column.name, column.feature) for column in columns] == self._columns

    def write(self, rows: Rows, columns: Sequence[Column]) -> None:
        """Appends rows.

        Args:
            rows: the rows.
            columns: what the writer was made with; only what their shapes tell of values may be more.

        Raises:
            MisfitError: a column cannot be written as its shape says.
        """
        arrays = [
            to_arrow(column.name, values_of(rows, column.name), column.shape, column.feature) for column in columns
        ]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        if self._shard is None or (self._shard.bytes + table.nbytes > self._shard_bytes and self._shard.bytes):
            self._close_shard()
            self._open_shard()
        assert self._shard is not None
        self._shard.write(table)

    def _publish(self) -> None:
        # Datasets that are open on the old files keep them: a file lives on while it is mapped.
        for draft, final in zip(self._drafts, self._final, strict=True):
            shutil.rmtree(final, ignore_errors=True)
            draft.rename(final)

    def _open_shard(self) -> None:
        name = _shard_name(self._shards)
        self._shard = _Shard(self._drafts[0] / f"{name}.parquet", self._drafts[1] / f"{name}.arrow", self._schema)
        self._shards += 1

    def _close_shard(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None


class _Shard:
    """One Parquet file and the Arrow stream of the same rows.

    A thread of its own writes a table while the next one is made: writing is a third of the work, and none of it
    is Python's. At most one table waits, so memory stays flat.
    """

    def __init__(self, parquet: Path, arrow: Path, schema: Any) -> None:
        self.bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="distilmq-writer")
        self._written: Future[None] | None = None
        self._parquet: Any = pq.ParquetWriter(parquet, schema)
        self._sink: Any = pa.OSFile(str(arrow), "wb")
        self._stream: Any = pa.ipc.new_stream(self._sink, schema)

    def write(self, table: Any) -> None:
        self.bytes += table.nbytes
        self._await()
        self._written = self._thread.submit(self._write, table)

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._sink.close)
            stack.callback(self._stream.close)
            stack.callback(self._parquet.close)
            stack.callback(self._thread.shutdown)
            self._await()

    def _write(self, table: Any) -> None:
        self._parquet.write_table(table)
        self._stream.write_table(table)

    def _await(self) -> None:
        written, self._written = self._written, None
        if written is not None:
            written.result()


def open_files(files: Iterable[Path], *, in_memory: bool = False) -> Any:
    """The Dataset in Arrow files: mapped, or read into memory where the files will not stay."""
    parts = [datasets.Dataset.from_file(str(file), split=datasets.Split.TRAIN, in_memory=in_memory) for file in files]
    return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)


def _remove_drafts(final: Path) -> None:
    """Those of a script that was killed: a run has one writer at a time, for its coordinator is locked."""
    drafts = re.compile(rf"\.{re.escape(final.name)}-[0-9a-f]{{32}}")
    for path in final.parent.glob(".*"):
        if drafts.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _shard_name(number: int) -> str:
    return f"train-{number:05d}"


def _folder(leaf: str) -> str:
    # A step may be called "..", and a folder with a leading dot is hidden from `load_dataset`.
    return f"_{leaf}" if leaf.startswith(".") else leaf
