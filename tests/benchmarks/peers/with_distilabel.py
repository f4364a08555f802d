"""The pipeline of `model_runs.py` by distilabel, everything at its defaults: it knows neither limit nor rate."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import GroupColumns, LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
from pydantic import BaseModel


class Answer(BaseModel):
    """The shape of answers that have one."""

    answer: str


def main() -> None:
    """Runs the pipeline and counts the rows that are lost."""
    asked = json.loads(sys.argv[1])
    rows, tasks = asked["rows"], asked["tasks"]
    options: dict[str, Any] = {"structured_output": {"schema": Answer}} if asked["json"] else {}
    cache = os.environ.get("BENCH_CACHE")
    with Pipeline("models", cache_dir=cache) as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {number}"} for number in range(rows)])
        asking = [TextGeneration(name=f"ask_{n}", llm=OpenAILLM(model=f"m{n}", **options)) for n in range(tasks)]
        if tasks == 1:
            load >> asking[0]
        else:
            load >> asking >> GroupColumns(columns=["generation"], output_columns=["generations"])
    given = pipeline.run(use_cache=cache is not None)["default"]["train"]
    lost = rows - len(given) + sum(not _is_right(row, tasks) for row in given)
    print("RESULT " + json.dumps({"lost": lost, "failed": 0}), flush=True)


def _is_right(row: dict[str, Any], tasks: int) -> bool:
    answer = row["instruction"].replace("row", "answer")
    found = [row["generation"]] if tasks == 1 else row["generations"]
    return all(text is not None and answer in (text, _answer(text)) for text in found)


def _answer(text: str) -> Any:
    try:
        return json.loads(text)["answer"]
    except (ValueError, TypeError, KeyError):
        return None


if __name__ == "__main__":
    main()
