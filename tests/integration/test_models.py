"""Models in real runs: what was answered is paid for once, and a failing request takes no other row along."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runs import Script, all_gone, family, kill_tree, until
from tests.servers.providers import ProviderServer

TWO_TASKS = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    with Pipeline("models") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}"} for n in range(40)], batch_size=40)
        ask = TextGeneration(name="ask", llm=OpenAILLM(model="m", max_concurrency=8), input_batch_size=40)
        again = TextGeneration(
            name="again",
            llm=OpenAILLM(model="n"),
            input_mappings={"instruction": "generation"},
            output_mappings={"generation": "second", "model_name": "second_model"},
        )
        load >> ask >> again

    if __name__ == "__main__":
        dump(pipeline.run())
"""


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        running.says = lambda prompt: prompt.upper()
        yield running


@pytest.fixture
def script(tmp_path: Path, server: ProviderServer) -> Script:
    (tmp_path / "keys").mkdir()
    return Script(tmp_path / "run", TWO_TASKS, env=server.env(tmp_path / "keys"))


def answers_kept(script: Script) -> int:
    """How many answers the ledger holds."""
    if not script.run_dirs:
        return 0
    ledger = sqlite3.connect(f"file:{script.run_dirs[-1] / 'ledger.db'}?mode=ro", uri=True, timeout=10)
    try:
        return int(ledger.execute("SELECT count(*) FROM answer").fetchone()[0])
    except sqlite3.OperationalError:  # the ledger is being made
        return 0
    finally:
        ledger.close()


def second_texts(script: Script) -> list[object]:
    return [row["second"] for row in script.rows["default"]]


def test_a_killed_run_does_not_ask_again_what_was_answered(script: Script, server: ProviderServer) -> None:
    server.hold(after=20)
    process = script.start()
    until(lambda: answers_kept(script) == 20, "twenty recorded answers")
    until(lambda: len(server.asked) == 28, "eight requests that are out")
    processes = family(process.pid)

    kill_tree(process.pid)
    process.wait()
    until(lambda: all_gone(processes), "the end of the run")
    server.release()
    code = script.run()

    assert code == 0, script.output
    assert second_texts(script) == [f"ROW {n}" for n in range(40)]
    to_first = [asked.prompt for asked in server.asked if asked.model == "m"]
    # Asked twice are only those that had no answer when everything was killed.
    assert len(to_first) == 40 + 8
    assert set(to_first) == {f"row {n}" for n in range(40)}


def test_the_first_ctrl_c_awaits_what_is_out_and_sends_nothing_new(script: Script, server: ProviderServer) -> None:
    server.hold(after=20)
    process = script.start()
    until(lambda: len(server.asked) == 28, "eight requests that are out")

    process.send_signal(signal.SIGINT)
    until(lambda: "stop" in script.output.lower(), "word that it stops")
    server.release()
    code = process.wait(60)

    assert code in (130, -signal.SIGINT), script.output
    assert len(server.asked) == 28
    assert script.run() == 0, script.output
    assert second_texts(script) == [f"ROW {n}" for n in range(40)]
    assert sum(asked.model == "m" for asked in server.asked) == 40


def test_a_failing_request_fails_its_row_alone_and_no_further_model_is_asked_about_it(
    script: Script, server: ProviderServer
) -> None:
    server.fail("row 7", status=400, message="not like this")
    server.fail("row 23", status=400, message="nor like this")

    assert script.run() == 0, script.output

    assert second_texts(script) == [None if n in (7, 23) else f"ROW {n}" for n in range(40)]
    metadata = script.rows["default"][7]["distilmq_metadata"]
    assert "not like this" in metadata["error_ask"]  # type: ignore[index]
    assert sum(asked.model == "m" for asked in server.asked) == 40
    assert sum(asked.model == "n" for asked in server.asked) == 38


def test_a_refused_key_ends_the_run_with_the_providers_words(script: Script, server: ProviderServer) -> None:
    server.fail("", status=401, message="Incorrect API key provided: sk-1")

    assert script.run() != 0

    assert "Incorrect API key provided: sk-1" in script.output
