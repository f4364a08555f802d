"""Writes the golden files of a release: `python -m tests.golden.write 0.1`. They are never written again."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from distilmq.protocol.codec import encode
from tests.golden.examples import UNIONS, example, members

HERE = Path(__file__).parent
KEPT = ("ledger.db", "segments", "plan.msgpack", "pipeline.yaml")
"""Of the folder of a run: the rest says on which machine it was."""


def frames() -> dict[str, Any]:
    """By union and message, the frames in hexadecimal, and what is in them."""
    found: dict[str, Any] = {}
    for name, union in UNIONS.items():
        for kind in members(union):
            message = example(kind)
            found.setdefault(name, {})[kind.__name__] = {
                "frames": [frame.hex() for frame in encode(message)],
                "fields": message.model_dump(mode="json"),
            }
    return found


def run(folder: Path) -> list[dict[str, Any]]:
    """Leaves the journal of a run with a model, a failed row and a join in a folder; its rows."""
    with tempfile.TemporaryDirectory(prefix="golden-") as cache:
        os.environ["DISTILMQ_CACHE_DIR"] = cache
        from distilmq.pipeline import Pipeline
        from distilmq.steps import GroupColumns, LoadDataFromDicts
        from distilmq.steps.tasks import TextGeneration
        from distilmq.testing import ScriptedLLM

        with Pipeline("golden") as pipeline:
            load = LoadDataFromDicts(data=[{"instruction": f"question {n}"} for n in range(12)], batch_size=5)
            tasks = [
                TextGeneration(name="first", llm=ScriptedLLM(fail_on=["question 7"])),
                TextGeneration(name="second", llm=ScriptedLLM(answers=["yes"]), input_batch_size=3),
            ]
            load >> tasks >> GroupColumns(name="group", columns=["generation"], output_columns=["generations"])
        distiset = pipeline.run()
        assert pipeline.last_run is not None
        for name in KEPT:
            source = pipeline.last_run.directory / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return [{name: row[name] for name in ("instruction", "generations")} for row in distiset["default"]["train"]]


def main() -> None:
    """Writes a folder that is not there yet."""
    folder = HERE / sys.argv[1]
    (folder / "run").mkdir(parents=True)
    (folder / "frames.json").write_text(json.dumps(frames(), indent=1) + "\n")
    (folder / "rows.json").write_text(json.dumps(run(folder / "run"), indent=1) + "\n")


if __name__ == "__main__":
    main()
