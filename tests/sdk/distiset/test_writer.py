"""Files of a leaf: complete or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distilmq.dataset.schema import Schema
from distilmq.dataset.writer import LeafWriter, open_files


def columns_of(rows: list[dict[str, Any]]) -> Any:
    return Schema().add(rows).columns({}, ())


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def interrupted(writer: LeafWriter, columns: Any) -> None:
    with writer:
        writer.write(ROWS[:1], columns)
        raise KeyboardInterrupt


ROWS = [{"n": n, "text": "x" * 100} for n in range(10)]


def test_shards_are_read_as_one_dataset(tmp_path: Path) -> None:
    columns = columns_of(ROWS)

    with LeafWriter(tmp_path, "leaf", columns, shard_bytes=500) as writer:
        for start in range(0, 10, 4):
            writer.write(ROWS[start : start + 4], columns)

    assert list(open_files(writer.files)) == ROWS
    assert files_below(tmp_path / "leaf") == [f"train-0000{number}.parquet" for number in range(3)]


def test_what_fails_midway_leaves_what_was_there(tmp_path: Path) -> None:
    columns = columns_of(ROWS)
    with LeafWriter(tmp_path, "leaf", columns) as writer:
        writer.write(ROWS, columns)
    before = files_below(tmp_path)

    with pytest.raises(KeyboardInterrupt):
        interrupted(LeafWriter(tmp_path, "leaf", columns), columns)

    assert files_below(tmp_path) == before
    assert list(open_files(writer.files)) == ROWS


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    columns = columns_of(ROWS)
    LeafWriter(tmp_path, "leaf", columns).__enter__().write(ROWS, columns)
    others = tmp_path / ".leaf-of-another"
    others.mkdir()

    with LeafWriter(tmp_path, "leaf", columns) as writer:
        writer.write(ROWS, columns)

    assert files_below(tmp_path) == [".arrow/leaf/train-00000.arrow", "leaf/train-00000.parquet"]
    assert others.exists()


def test_a_leaf_without_rows_is_a_file_too(tmp_path: Path) -> None:
    with LeafWriter(tmp_path, "leaf", columns_of(ROWS)) as writer:
        pass

    assert open_files(writer.files).column_names == ["n", "text"]
