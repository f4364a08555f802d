"""One run of tasks against the model server, in a process of its own: prints one JSON line.

    python model_runs.py ROWS TASKS OPTIONS

`TASKS` tasks answer the same rows and are grouped; `OPTIONS` are parameters of the model, as JSON. Where the server is
stands in `OPENAI_BASE_URL`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

CACHE = tempfile.TemporaryDirectory(prefix="distilmq-bench-")
os.environ["DISTILMQ_CACHE_DIR"] = CACHE.name

from distilmq.models import OpenAILLM  # noqa: E402  # the environment comes first
from distilmq.pipeline import Pipeline  # noqa: E402  # the environment comes first
from distilmq.steps import GroupColumns, LoadDataFromDicts  # noqa: E402  # the environment comes first
from distilmq.steps.tasks import TextGeneration  # noqa: E402  # the environment comes first


def main() -> None:
    """Runs the pipeline and counts the rows that are lost."""
    rows, tasks, options = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    with Pipeline("models") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {number}"} for number in range(rows)])
        asking = [TextGeneration(name=f"ask_{n}", llm=OpenAILLM(model=f"m{n}", **options)) for n in range(tasks)]
        if tasks == 1:
            load >> asking[0]
        else:
            load >> asking >> GroupColumns(columns=["generation"], output_columns=["generations"])
    distiset = pipeline.run(use_cache=False)
    given = distiset["default"]["train"]
    column = "generation" if tasks == 1 else "generations"
    right = [f"answer {n}" if tasks == 1 else [f"answer {n}"] * tasks for n in range(rows)]
    lost = sum(one != other for one, other in zip(given[column], right, strict=True))
    print("RESULT " + json.dumps({"lost": lost}), flush=True)
    CACHE.cleanup()


if __name__ == "__main__":
    main()
