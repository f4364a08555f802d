"""No answered request is paid for twice: what a stopped or killed run had got from a model is used by the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runs import Script, all_gone, family, kill_tree, until
from tests.integration.terminal import Terminal
from tests.servers.providers import ProviderServer

CODE = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    with Pipeline("answers") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"question {n}"} for n in range(40)], batch_size=40)
        llm = OpenAILLM(model="gpt-4", max_concurrency=8)
        load >> TextGeneration(name="ask", llm=llm, input_batch_size=20)

    if __name__ == "__main__":
        dump(pipeline.run())
"""


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


def generations(script: Script) -> list[object]:
    return [row["generation"] for row in script.rows["default"]]


EXPECTED = [f"You said: question {n}" for n in range(40)]


def test_a_drained_batch_awaits_what_is_in_flight_and_sends_nothing_twice(
    tmp_path: Path, provider: ProviderServer
) -> None:
    script = Script(tmp_path / "run", CODE, provider.env(tmp_path))
    provider.hold(after=5)
    with Terminal(script) as terminal:
        until(lambda: len(provider.asked) == 13, "five answers and eight requests in flight")
        processes = family(terminal.process.pid)

        terminal.press_ctrl_c()
        until(lambda: "Ctrl+C again" in terminal.shown, "the countdown")
        provider.release()
        terminal.process.wait(60)
    until(lambda: all_gone(processes), "no process outlives the run")
    assert len(provider.asked) == 13, "a draining run sends no new request"

    assert script.run() == 0

    assert generations(script) == EXPECTED
    assert Counter(provider.prompts) == Counter(f"question {n}" for n in range(40)), "each request was sent once"


def test_a_killed_run_uses_the_answers_that_had_come(tmp_path: Path, provider: ProviderServer) -> None:
    script = Script(tmp_path / "run", CODE, provider.env(tmp_path))
    provider.hold(after=5)
    process = script.start()
    until(lambda: len(provider.asked) == 13, "five answers and eight requests in flight")
    until(lambda: script.answers() == 5, "five recorded answers")
    processes = family(process.pid)
    kill_tree(process.pid)
    process.wait()
    until(lambda: all_gone(processes), "no process outlives the run")
    in_flight = set(provider.prompts[5:13])
    provider.release()

    assert script.run() == 0

    assert generations(script) == EXPECTED
    sent = Counter(provider.prompts)
    assert {prompt for prompt, times in sent.items() if times > 1} <= in_flight, "only what had no answer is sent again"
