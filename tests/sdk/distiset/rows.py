"""Small builders that the tests of datasets share."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilmq.distiset import Distiset, build_distiset
from distilmq.protocol.rows import encode_rows

Row = dict[str, Any]


def payloads(rows: list[Row], size: int = 50) -> list[bytes]:
    """Rows as a run hands them over: one payload a batch."""
    return [encode_rows(rows[start : start + size]) for start in range(0, len(rows), size)]


@dataclass(frozen=True)
class Built:
    """One leaf's dataset and the warnings that came with it."""

    rows: Any
    warnings: list[str]

    @property
    def features(self) -> Any:
        return self.rows.features

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]


def build(
    rows: list[Row], directory: Path, *, features: Mapping[str, Any] | None = None, columns: Iterable[str] = ()
) -> Built:
    """The dataset of a leaf that gave these rows, in batches of two."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        distiset = build_distiset(
            {"leaf": payloads(rows, 2)}, directory=directory, features=features, columns={"leaf": columns}
        )
    assert {warning.filename for warning in caught} <= {__file__}, "they point at the line that asked for the dataset"
    return Built(distiset["default"]["train"], [str(warning.message) for warning in caught])


def build_column(values: list[Any], directory: Path, *, feature: Any = None) -> Built:
    """The dataset of rows with one column, `x`."""
    return build([{"x": value} for value in values], directory, features={"x": feature} if feature else None)


def two_leaves(directory: Path, rows: int = 10) -> Distiset:
    """A Distiset with the leaves `left` and `right`, a pipeline, a log and an artifact."""
    (directory / "artifacts" / "left").mkdir(parents=True)
    (directory / "artifacts" / "left" / "notes.txt").write_text("kept")
    pipeline = directory / "pipeline.yaml"
    pipeline.write_text("pipeline:\n  name: doubling\n  description: Doubles numbers.\n  steps: []\n")
    (directory / "pipeline.log").write_text('{"event": "run_finished"}\n')
    return build_distiset(
        {
            "left": payloads([{"n": n, "text": f"row {n}"} for n in range(rows)]),
            "right": payloads([{"n": 2 * n} for n in range(rows)]),
        },
        directory=directory,
        pipeline_path=pipeline,
        log_filename_path=directory / "pipeline.log",
        artifacts_path=directory / "artifacts",
    )
