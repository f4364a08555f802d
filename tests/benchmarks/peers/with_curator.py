"""The rows of `model_runs.py` by Curator (`bespokelabs-curator`): one `LLM` after the other, its cache in a folder."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import tempfile
from typing import Any

FOLDER = tempfile.TemporaryDirectory(prefix="curator-bench-")
os.environ.update(
    TELEMETRY_ENABLED="false",
    CURATOR_CACHE_DIR=os.environ.get("BENCH_CACHE", FOLDER.name),
    HF_DATASETS_CACHE=os.environ.get("BENCH_CACHE", FOLDER.name),
    CURATOR_DISABLE_RICH_DISPLAY="1",
    # The words of OpenAI's tokenizer, which tiktoken would fetch from the network: litellm brings them.
    TIKTOKEN_CACHE_DIR=f"{sysconfig.get_path('purelib')}/litellm/litellm_core_utils/tokenizers",
)

from bespokelabs import curator  # noqa: E402  # the environment comes first
from datasets import Dataset  # noqa: E402  # the environment comes first
from pydantic import BaseModel  # noqa: E402  # the environment comes first


class Answer(BaseModel):
    """The shape of answers that have one."""

    answer: str


class Asking(curator.LLM):  # type: ignore[misc]  # of an environment of its own
    """Asks about each row."""

    def prompt(self, input: dict[str, Any]) -> str:
        """The question."""
        return str(input["instruction"])

    def parse(self, input: dict[str, Any], response: Any) -> dict[str, Any]:
        """The row with its answer."""
        text = response.answer if isinstance(response, Answer) else response
        return {"row": input["row"], "answer": text}


def main() -> None:
    """Asks for all rows of all tasks and counts those that have no answer."""
    asked = json.loads(sys.argv[1])
    rows = [{"row": row, "instruction": f"row {row}"} for row in range(asked["rows"])]
    wanted = {
        "max_concurrent_requests": asked["limit"],
        "max_requests_per_minute": asked["rate"] or 1_000_000,
        "max_tokens_per_minute": 1_000_000_000,
        "require_all_responses": False,
    }
    lost = 0
    for task in range(asked["tasks"]):
        llm = Asking(
            # It only believes models that it knows to answer with JSON.
            model_name="gpt-4o-mini" if asked["json"] else f"m{task}",
            backend="openai",
            response_format=Answer if asked["json"] else None,
            backend_params={name: value for name, value in wanted.items() if value is not None},
        )
        given = llm(Dataset.from_list(rows))
        found = {row["row"]: row["answer"] for row in getattr(given, "dataset", given)}
        lost += sum(found.get(row) != f"answer {row}" for row in range(asked["rows"]))
    print("RESULT " + json.dumps({"lost": lost, "failed": 0}), flush=True)


if __name__ == "__main__":
    main()
