"""Vectors in real runs: counted, and not paid for twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runs import Script, all_gone, family, kill_tree, until
from tests.servers.dialects import EMBEDDING_SIZE, embedding_of
from tests.servers.providers import ProviderServer

CODE = """
    from distilmq.models import OpenAIEmbeddings
    from distilmq.steps import EmbeddingGeneration

    with Pipeline("vectors") as pipeline:
        load = LoadDataFromDicts(data=[{"text": f"text {n}"} for n in range(40)], batch_size=40)
        embeddings = OpenAIEmbeddings(
            model="m", texts_per_request=4, max_concurrency=2, prices={"input": 1_000_000, "output": 0}
        )
        load >> EmbeddingGeneration(name="embed", embeddings=embeddings, input_batch_size=20)

    if __name__ == "__main__":
        dump(pipeline.run())
        [usage] = pipeline.last_run.usage.by_model
        (HERE / "usage.json").write_text(json.dumps([usage.requests, usage.cost]))
"""


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


def vectors(script: Script) -> list[object]:
    return [row["embedding"] for row in script.rows["default"]]


EXPECTED = [embedding_of(f"text {n}", EMBEDDING_SIZE) for n in range(40)]


def test_a_killed_run_uses_the_vectors_that_had_come(tmp_path: Path, provider: ProviderServer) -> None:
    script = Script(tmp_path / "run", CODE, provider.env(tmp_path))
    provider.hold(after=3)
    process = script.start()
    until(lambda: len(provider.asked) == 5, "three answers and two requests in flight")
    until(lambda: script.answers() == 12, "twelve recorded vectors")
    processes = family(process.pid)
    kill_tree(process.pid)
    process.wait()
    until(lambda: all_gone(processes), "no process outlives the run")
    until(lambda: provider.waiting == 0, "the server notices who has gone")
    in_flight = {text for asked in provider.asked[3:] for text in asked.body["input"]}
    provider.release()

    assert script.run() == 0

    assert vectors(script) == EXPECTED
    sent = Counter(text for asked in provider.asked for text in asked.body["input"])
    assert {text for text, times in sent.items() if times > 1} <= in_flight
    assert set(sent) == {f"text {n}" for n in range(40)}
    assert (script.folder / "usage.json").read_text() == f"[{len(provider.answered)}, 80.0]", "two words a text"
