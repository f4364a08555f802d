"""A run pauses when more rows of a step fail than its user wants, says how to go on, and does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runs import Script, kill_tree, until
from tests.servers.providers import ProviderServer

CODE = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    with Pipeline("pausing") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}."} for n in range(400)], batch_size=10)
        ask = TextGeneration(
            name="ask", llm=OpenAILLM(model="m", max_retries=0), input_batch_size=10, max_failure_rate=0.2
        )
        load >> ask

    if __name__ == "__main__":
        dump(pipeline.run())
"""


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


@pytest.fixture
def script(tmp_path: Path, server: ProviderServer) -> Script:
    (tmp_path / "keys").mkdir()
    return Script(tmp_path / "run", CODE, server.env(tmp_path / "keys"))


def distilmq(script: Script, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in the environment of the script."""
    return subprocess.run(
        [sys.executable, "-m", "distilmq", *arguments],
        env={**os.environ, **script.env, "DISTILMQ_CACHE_DIR": str(script.cache)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_run_that_paused_is_looked_at_and_resumed_from_another_terminal(
    script: Script, server: ProviderServer
) -> None:
    server.fail("", status=400, message="out of service")
    process = script.start()
    try:
        until(lambda: "paused" in script.output, "word that it paused")
        asked = len(server.asked)
        listed = distilmq(script, "failures", "list", "pausing")
        retried = distilmq(script, "failures", "retry", "pausing")
        server.recover()
        resumed = distilmq(script, "pipeline", "resume", str(script.run_dirs[0]))
        assert process.wait(60) == 0, script.output
    finally:
        if process.poll() is None:
            kill_tree(process.pid)

    assert "step 'ask': " in script.output
    assert "max_failure_rate is 0.2" in script.output
    assert "out of service" in script.output
    assert f"`distilmq pipeline resume {script.run_dirs[0]}` goes on; Ctrl+C stops" in script.output
    assert asked < 400
    assert "InvalidRequestError in 'ask'" in listed.stdout, listed.stderr
    assert "is still at work" in retried.stderr
    assert resumed.returncode == 0, resumed.stderr
    assert len(script.rows["default"]) == len(server.asked) == 400


def test_a_run_that_paused_is_stopped_by_ctrl_c_and_goes_on_later(script: Script, server: ProviderServer) -> None:
    server.fail("", status=400, message="out of service")
    process = script.start()
    until(lambda: "paused" in script.output, "word that it paused")

    process.send_signal(signal.SIGINT)
    code = process.wait(60)
    asked = len(server.asked)
    server.recover()

    assert code in (130, -signal.SIGINT), script.output
    assert script.run() == 0, script.output
    assert len(script.rows["default"]) == 400
    assert asked < 400
    assert {prompt for prompt, times in Counter(server.prompts).items() if times > 1} <= set(server.prompts[:asked])
    none = distilmq(script, "pipeline", "resume", "pausing")
    assert "Nobody is at work on the run" in none.stderr
