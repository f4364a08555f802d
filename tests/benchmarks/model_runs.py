"""One run of tasks against the model server, in a process of its own: prints one JSON line.

    python model_runs.py '{"rows": 600, "tasks": 1, "limit": 64, "rate": null, "json": false}'

`tasks` tasks answer the same rows and are grouped. `limit` and `rate` are told to the model where they are not null:
the requests at once and in a minute. With `json` the answers have a schema. Where the server is stands in
`OPENAI_BASE_URL`; with `BENCH_CACHE` the journal is kept there, and a run that was killed is gone on with. Those of
`peers/` take the same.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

CACHE = tempfile.TemporaryDirectory(prefix="distilmq-bench-")
os.environ["DISTILMQ_CACHE_DIR"] = os.environ.get("BENCH_CACHE", CACHE.name)

from distilmq.models import OpenAILLM  # noqa: E402  # the environment comes first
from distilmq.pipeline import Pipeline  # noqa: E402  # the environment comes first
from distilmq.steps import GroupColumns, LoadDataFromDicts  # noqa: E402  # the environment comes first
from distilmq.steps.tasks import TextGeneration  # noqa: E402  # the environment comes first

SCHEMA = {
    "title": "Answer",
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


def main() -> None:
    """Runs the pipeline and counts the rows that are lost."""
    asked = json.loads(sys.argv[1])
    rows, tasks = asked["rows"], asked["tasks"]
    options: dict[str, Any] = {"max_concurrency": asked["limit"], "requests_per_minute": asked["rate"]}
    if asked["json"]:
        options["structured_output"] = {"format": "json", "schema": SCHEMA}
    with Pipeline("models") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {number}"} for number in range(rows)])
        asking = [TextGeneration(name=f"ask_{n}", llm=OpenAILLM(model=f"m{n}", **options)) for n in range(tasks)]
        if tasks == 1:
            load >> asking[0]
        else:
            load >> asking >> GroupColumns(columns=["generation"], output_columns=["generations"])
    given = pipeline.run(use_cache="BENCH_CACHE" in os.environ)["default"]["train"]
    failed = 0 if pipeline.last_run is None else len(pipeline.last_run.failures)
    answers = given["generation"] if tasks == 1 else given["generations"]
    right = [_right(number, tasks, as_json=asked["json"]) for number in range(rows)]
    lost = sum(one != other for one, other in zip(answers, right, strict=True)) - failed
    print("RESULT " + json.dumps({"lost": lost, "failed": failed}), flush=True)
    CACHE.cleanup()


def _right(row: int, tasks: int, *, as_json: bool) -> Any:
    answer = json.dumps({"answer": f"answer {row}"}) if as_json else f"answer {row}"
    return answer if tasks == 1 else [answer] * tasks


if __name__ == "__main__":
    main()
