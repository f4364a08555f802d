"""Several models behind one task, in real runs: what they said is not paid for twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.integration.runs import Script, all_gone, family, kill_tree, until
from tests.servers.providers import ProviderServer

CODE = """
    from distilmq.models import AnthropicLLM, MixtureOfAgentsLLM, OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    with Pipeline("mixture") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"question {n}"} for n in range(8)])
        llm = MixtureOfAgentsLLM(
            aggregator_llm=OpenAILLM(model="judge"),
            proposers_llms=[OpenAILLM(model="one", max_concurrency=4), AnthropicLLM(model="two", max_concurrency=4)],
        )
        load >> TextGeneration(name="ask", llm=llm, input_batch_size=8)

    if __name__ == "__main__":
        dump(pipeline.run())
        usage = {each.model: each.requests for each in pipeline.last_run.usage.by_model}
        (HERE / "usage.json").write_text(json.dumps(usage))
"""


def test_a_killed_run_uses_what_its_models_had_said(tmp_path: Path) -> None:
    with ProviderServer() as provider:
        script = Script(tmp_path / "run", CODE, provider.env(tmp_path))
        provider.hold(after=6)
        process = script.start()
        until(lambda: len(provider.answered) == 6, "six answers")
        until(lambda: script.answers() == 6, "six recorded answers")
        processes = family(process.pid)
        kill_tree(process.pid)
        process.wait()
        until(lambda: all_gone(processes), "no process outlives the run")
        until(lambda: provider.waiting == 0, "the server notices who has gone")
        had = Counter((asked.model, asked.prompt) for asked in provider.answered)
        provider.release()

        assert script.run() == 0

        sent = Counter((asked.model, asked.prompt) for asked in provider.answered)
    assert had.total() == 6
    assert sent == Counter((model, f"question {n}") for model in ("one", "two", "judge") for n in range(8))
    assert {row["generation"] for row in script.rows["default"]} == {f"You said: question {n}" for n in range(8)}
    assert json.loads((script.folder / "usage.json").read_text()) == {"judge": 8, "one": 8, "two": 8}
