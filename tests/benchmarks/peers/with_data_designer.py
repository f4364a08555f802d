"""The rows of `model_runs.py` by DataDesigner (`data-designer`): a column per task, resuming where it was killed."""

from __future__ import annotations

import json
import os
import sys
import tempfile

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner

SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


def main() -> None:
    """Makes all columns of all rows and counts those that have no answer."""
    asked = json.loads(sys.argv[1])
    rows, tasks = range(asked["rows"]), range(asked["tasks"])
    with tempfile.TemporaryDirectory(prefix="data-designer-bench-") as folder:
        designer = DataDesigner(artifact_path=os.environ.get("BENCH_CACHE", folder), model_providers=[_provider()])
        given = designer.create(
            _columns(asked), num_records=len(rows), dataset_name="rows", resume=dd.ResumeMode.IF_POSSIBLE
        ).load_dataset()
    found = {int(row["row"]): row for row in given.to_dict("records")}
    lost = sum(_answer(found.get(row, {}).get(f"ask_{task}")) != f"answer {row}" for row in rows for task in tasks)
    print("RESULT " + json.dumps({"lost": lost, "failed": 0}), flush=True)


def _provider() -> dd.ModelProvider:
    return dd.ModelProvider(
        name="bench", endpoint=os.environ["OPENAI_BASE_URL"], provider_type="openai", api_key="OPENAI_API_KEY"
    )


def _columns(asked: dict[str, int]) -> dd.DataDesignerConfigBuilder:
    parameters = dd.ChatCompletionInferenceParams(max_parallel_requests=asked["limit"] or 64)
    models = [
        dd.ModelConfig(
            alias=f"m{task}",
            model=f"m{task}",
            provider="bench",
            inference_parameters=parameters,
            skip_health_check=True,
        )
        for task in range(asked["tasks"])
    ]
    builder = dd.DataDesignerConfigBuilder(model_configs=models)
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame({"row": list(range(asked["rows"]))})))
    for task in range(asked["tasks"]):
        names = {"name": f"ask_{task}", "prompt": "row {{ row }}", "model_alias": f"m{task}"}
        column = (
            dd.LLMStructuredColumnConfig(**names, output_format=SCHEMA)
            if asked["json"]
            else dd.LLMTextColumnConfig(**names)
        )
        builder.add_column(column)
    return builder


def _answer(value: object) -> object:
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    return value["answer"] if isinstance(value, dict) else value


if __name__ == "__main__":
    main()
