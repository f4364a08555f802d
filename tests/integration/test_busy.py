"""Models are kept busy: no batch waits for the slowest row of another, and the limits of the account hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runs import Script, of_kind, until
from tests.servers.providers import ProviderServer

ONE_TASK = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    with Pipeline("busy") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}"} for n in range(200)])
        load >> TextGeneration(name="ask", llm=OpenAILLM(model="m", LIMITS))

    if __name__ == "__main__":
        dump(pipeline.run())
"""

WRITTEN_BY_A_USER = """
    import openai
    from typing import Any
    from pydantic import PrivateAttr
    from distilmq.models import AsyncLLM
    from distilmq.steps.tasks import Task

    class MyLLM(AsyncLLM):
        _client: Any = PrivateAttr(None)

        @property
        def model_name(self): return "mine"

        def load(self):
            super().load()
            self._client = openai.AsyncOpenAI(max_retries=0)

        async def aclose(self):
            await self._client.close()

        async def agenerate(self, input, num_generations=1):
            answer = await self._client.chat.completions.create(model="mine", messages=input)
            return {"generations": [answer.choices[0].message.content]}

    class Twice(Task):
        "Asks about the row, then about the answer."

        @property
        def inputs(self): return ["instruction"]
        @property
        def outputs(self): return ["answer", "model_name"]
        def format_input(self, input): return [{"role": "user", "content": input["instruction"]}]
        def format_output(self, output, input=None): return {"answer": output}

        def process(self, inputs: StepInput):
            for rows in super().process(inputs):
                again = self.llm.generate_outputs([self.format_input({"instruction": row["answer"]}) for row in rows])
                yield [{**row, "answer": each["generations"][0]} for row, each in zip(rows, again, strict=True)]

    with Pipeline("mine") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}"} for n in range(200)])
        load >> Twice(name="ask", llm=MyLLM(max_concurrency=64))

    if __name__ == "__main__":
        dump(pipeline.run())
"""


ONE_ACCOUNT = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    with Pipeline("account") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}"} for n in range(ROWS)], batch_size=10)
        tasks = [
            TextGeneration(
                name=name, llm=OpenAILLM(model="m", LIMITS), input_batch_size=10, resources=StepResources(replicas=2)
            )
            for name in ("one", "two")
        ]
        load >> tasks >> GroupColumns(columns=["generation"], output_columns=["generations"])

    if __name__ == "__main__":
        dump(pipeline.run())
"""


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        running.says = lambda prompt: prompt.upper()
        running.latency = 0.5
        yield running


def script_of(code: str, tmp_path: Path, server: ProviderServer) -> Script:
    (tmp_path / "keys").mkdir()
    return Script(tmp_path / "run", code, env=server.env(tmp_path / "keys"))


def run_with_so_many_out(script: Script, server: ProviderServer, out: int) -> None:
    """Runs a script whose requests are answered from when so many are out."""
    server.hold()
    process = script.start()
    try:
        until(lambda: server.waiting >= out, f"{out} requests are out")
        server.release()
        assert process.wait(90) == 0, script.output
    finally:
        server.release()
        process.kill()
        process.wait()


@pytest.mark.parametrize("limit", [64, 100])
def test_requests_of_several_batches_are_out_at_once(tmp_path: Path, server: ProviderServer, limit: int) -> None:
    script = script_of(ONE_TASK.replace("LIMITS", f"max_concurrency={limit}"), tmp_path, server)

    run_with_so_many_out(script, server, limit)

    assert server.most_at_once == limit, "batches of fifty rows, one replica"
    assert sorted(server.prompts) == sorted(f"row {n}" for n in range(200))
    assert [row["generation"] for row in script.rows["default"]] == [f"ROW {n}" for n in range(200)]


def test_a_slow_row_of_each_batch_leaves_no_place_idle_that_the_others_could_take(
    tmp_path: Path, server: ProviderServer
) -> None:
    code = ONE_TASK.replace("row {n}", "{'row' if n % 50 else 'slow row'} {n}").replace("range(200)", "range(400)")
    server.latency = 0.01
    script = script_of(code.replace("LIMITS", "max_concurrency=32"), tmp_path, server)
    server.hold(only="slow")
    process = script.start()
    try:
        until(lambda: len(server.answered) == 392, "all quick rows of the eight batches are answered")
        server.release()
        assert process.wait(60) == 0, script.output
    finally:
        server.release()
        process.kill()
        process.wait()


def test_a_users_own_model_and_task_gain_from_it_unchanged(tmp_path: Path, server: ProviderServer) -> None:
    script = script_of(WRITTEN_BY_A_USER, tmp_path, server)

    run_with_so_many_out(script, server, 64)

    assert server.most_at_once == 64
    assert len(server.asked) == 400
    assert [row["answer"] for row in script.rows["default"]] == [f"ROW {n}" for n in range(200)]


def test_a_limit_of_requests_per_minute_is_kept(tmp_path: Path, server: ProviderServer) -> None:
    code = ONE_TASK.replace("range(200)", "range(40)").replace("LIMITS", "requests_per_minute=600")
    script = script_of(code, tmp_path, server)

    assert script.run() == 0, script.output

    times = server.times
    assert len(times) == 40
    assert max(sum(1 for other in times if time <= other < time + 1) for time in times) <= 21
    assert times[-1] - times[0] > 2.5, "thirty requests beyond the first second's ten, at ten a second"


def test_a_worker_that_dies_with_many_batches_in_hand_loses_none(tmp_path: Path, server: ProviderServer) -> None:
    code = ONE_TASK.replace("LIMITS", "max_concurrency=100")
    script = script_of(code, tmp_path, server)
    server.hold(after=30)
    process = script.start()
    try:
        until(lambda: len(server.asked) >= 130, "a hundred requests are out")
        # The one that asks has a thread for each batch; the generator's has left, or is about to.
        max(of_kind(process.pid, "worker"), key=lambda one: one.num_threads()).kill()
        server.release()
        assert process.wait(90) == 0, script.output
    finally:
        server.release()
        process.kill()
        process.wait()

    assert [row["generation"] for row in script.rows["default"]] == [f"ROW {n}" for n in range(200)]
    assert len(server.asked) <= 200 + 101, "what was out may be asked again, what was answered may not"


def test_tasks_and_replicas_together_keep_within_the_accounts_places(tmp_path: Path, server: ProviderServer) -> None:
    code = ONE_ACCOUNT.replace("ROWS", "100").replace("LIMITS", "max_concurrency=16")
    script = script_of(code, tmp_path, server)
    server.hold()
    process = script.start()
    try:
        until(lambda: len(server.asked) >= 13, "nearly all places are taken, however slow who asks is")
        server.release()
        assert process.wait(90) == 0, script.output
    finally:
        server.release()
        process.kill()
        process.wait()

    assert 13 <= server.most_at_once <= 16
    assert [row["generations"] for row in script.rows["default"]] == [[f"ROW {n}"] * 2 for n in range(100)]


def test_the_accounts_rate_holds_also_when_a_worker_dies(tmp_path: Path, server: ProviderServer) -> None:
    code = ONE_ACCOUNT.replace("ROWS", "60").replace("LIMITS", "requests_per_minute=600")
    server.latency = 0.1
    script = script_of(code, tmp_path, server)
    process = script.start()
    try:
        until(lambda: len(server.asked) >= 20, "some requests were sent")
        max(of_kind(process.pid, "worker"), key=lambda one: one.num_threads()).kill()
        assert process.wait(90) == 0, script.output
    finally:
        process.kill()
        process.wait()

    times = server.times
    for seconds, most in ((1.0, 25), (5.0, 62), (10.0, 112)):
        assert max(sum(1 for other in times if time <= other < time + seconds) for time in times) <= most
    assert [row["generations"] for row in script.rows["default"]] == [[f"ROW {n}"] * 2 for n in range(60)]
