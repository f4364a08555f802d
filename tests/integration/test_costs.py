"""What a run says that models took is what the provider's own log says, and a bound on it holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.runs import Script, all_gone, family, kill_tree, until
from tests.servers.providers import Asked, ProviderServer

PRICES = {"input": 100.0, "output": 1000.0}

CODE = """
    from distilmq.errors import BudgetReachedError
    from distilmq.models import LLM, OpenAILLM
    from distilmq.steps.tasks import TextGeneration
    from distilmq.testing import ScriptedLLM

    PRICES = {"input": 100.0, "output": 1000.0}

    def entries(usage):
        return [
            {name: getattr(entry, name) for name in ("step", "model", "worker", "requests", "input_tokens",
             "output_tokens", "cost", "known_cost")}
            for entry in usage
        ]

    def model(name, **more):
        return OpenAILLM(model=name, **{"max_concurrency": 8, "prices": PRICES, **more})

    with Pipeline("costs") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n} of many"} for n in range(40)], batch_size=40)
        ask = TextGeneration(name="ask", llm=model("big"), input_batch_size=40)
        judge = TextGeneration(
            name="judge",
            llm=model("small", prices=json.loads(os.environ.get("SMALL", "null")) or PRICES),
            input_mappings={"instruction": "generation"},
            output_mappings={"generation": "verdict", "model_name": "judge_name"},
        )
        load >> ask >> judge

    if __name__ == "__main__":
        arguments = json.loads(os.environ.get("RUN", "{}"))
        try:
            dump(pipeline.run(**arguments))
        except BudgetReachedError as error:
            said = {"bound": error.bound, "cost": error.cost, "tokens": error.tokens, "text": str(error)}
            (HERE / "budget.json").write_text(json.dumps(said))
            dump(pipeline.last_run.distiset())
            raise SystemExit(7)
        finally:
            (HERE / "usage.json").write_text(json.dumps(entries(pipeline.last_run.usage)))
"""


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        running.says = lambda prompt: f"{prompt} yes"
        yield running


@pytest.fixture
def script(tmp_path: Path, server: ProviderServer) -> Script:
    (tmp_path / "keys").mkdir()
    return Script(tmp_path / "run", CODE, env=server.env(tmp_path / "keys"))


def usage_of(script: Script) -> list[dict[str, Any]]:
    return json.loads((script.folder / "usage.json").read_text())


def budget_of(script: Script) -> dict[str, Any]:
    return json.loads((script.folder / "budget.json").read_text())


def totals(entries: list[dict[str, Any]]) -> dict[str, tuple[int, int, int]]:
    """Requests, input and output tokens by model."""
    found: Counter[tuple[str, int]] = Counter()
    for entry in entries:
        for place, name in enumerate(("requests", "input_tokens", "output_tokens")):
            found[entry["model"], place] += entry[name]
    models = {entry["model"] for entry in entries}
    return {model: (found[model, 0], found[model, 1], found[model, 2]) for model in models}


def billed(server: ProviderServer) -> dict[str, tuple[int, int, int]]:
    """The same, by what the server has answered."""
    logs: dict[str, list[Asked]] = {}
    for asked in server.answered:
        logs.setdefault(asked.model, []).append(asked)
    return {
        model: (
            len(log),
            sum(len(asked.prompt.split()) for asked in log),
            sum(len((server.says(asked.prompt) or "").split()) for asked in log),
        )
        for model, log in logs.items()
    }


def cost(tokens: dict[str, tuple[int, int, int]]) -> float:
    return sum(PRICES["input"] * given + PRICES["output"] * said for _, given, said in tokens.values()) / 1e6


def test_totals_are_those_of_the_servers_log(script: Script, server: ProviderServer) -> None:
    assert script.run() == 0, script.output

    usage = usage_of(script)
    assert totals(usage) == billed(server) == {"big": (40, 160, 200), "small": (40, 200, 240)}
    assert sum(entry["cost"] for entry in usage) == pytest.approx(cost(billed(server)))
    assert [entry["step"] for entry in usage] == ["ask", "judge"]
    assert len({entry["worker"] for entry in usage}) == 2
    assert "ask     big          40        160         200  $0.2160" in script.output
    assert "in all               80        360         440  $0.4760" in script.output
    statistics = [row["distilmq_metadata"]["statistics_ask"] for row in script.rows["default"]]  # type: ignore[index]
    assert statistics == [{"input_tokens": 4, "output_tokens": 5}] * 40


def test_totals_go_on_over_a_kill_and_a_resume_and_count_nothing_twice(script: Script, server: ProviderServer) -> None:
    server.hold(after=20)
    process = script.start()
    until(lambda: len(server.asked) == 28, "twenty answers and eight requests that are out")
    until(lambda: script.answers() == 20, "twenty recorded answers")
    processes = family(process.pid)
    kill_tree(process.pid)
    process.wait()
    until(lambda: all_gone(processes), "the end of the run")
    until(lambda: not server.waiting, "the server has seen it, too")
    server.release()

    assert script.run() == 0, script.output
    first = usage_of(script)
    assert script.run() == 0, script.output

    assert len(server.asked) == 88, "the eight that were out are sent again, and nothing else"
    assert totals(first) == billed(server) == {"big": (40, 160, 200), "small": (40, 200, 240)}
    assert usage_of(script) == first, "a run that has nothing left to do costs nothing"
    assert "What models took, in all starts of this run:" in script.output


def test_a_run_stops_at_its_bound_and_goes_on_with_a_higher_one(script: Script, server: ProviderServer) -> None:
    server.latency = 0.02
    assert script.run(env={"RUN": json.dumps({"max_cost": 0.05})}) == 7, script.output

    stopped, said = billed(server), budget_of(script)
    assert said["bound"] == "max_cost"
    assert said["cost"] == pytest.approx(cost(stopped)), "what was in flight is awaited and counted"
    assert 0.05 <= said["cost"] <= 0.05 + 2 * cost({"small": (1, 5, 6)}), "of sixteen that could be out"
    assert "The run was stopped by max_cost=0.05" in said["text"]
    assert len(server.asked) == len(server.answered)
    assert len(script.rows.get("default", [])) < 40

    assert script.run(env={"RUN": json.dumps({"max_cost": 0.05})}) == 7
    assert billed(server) == stopped, "a bound that is passed already lets nothing out"

    assert script.run(env={"RUN": json.dumps({"max_cost": 10})}) == 0, script.output
    assert totals(usage_of(script)) == billed(server) == {"big": (40, 160, 200), "small": (40, 200, 240)}
    assert [row["verdict"] for row in script.rows["default"]] == [f"row {n} of many yes yes" for n in range(40)]


def test_tokens_can_be_bound_where_prices_are_not_known(script: Script, server: ProviderServer) -> None:
    server.latency = 0.02
    assert script.run(env={"RUN": json.dumps({"max_tokens": 100})}) == 7, script.output

    spent = sum(given + said for _, given, said in billed(server).values())
    assert budget_of(script)["tokens"] == spent
    assert 100 <= spent <= 100 + 2 * 11, "a request of either step on top, of sixteen that could be out"


def test_tokens_that_the_server_does_not_tell_are_null_and_a_bound_on_them_ends_the_run_at_once(
    script: Script, server: ProviderServer
) -> None:
    server.tells_tokens = "nothing"
    # So long that the run is told to stop before the second request of a process is answered, and goes on with a third.
    server.latency = 0.5
    script.env["RUN"] = json.dumps({"max_tokens": 1_000_000})
    assert script.run() == 7, script.output
    bounded, words = len(server.asked), budget_of(script)["text"]

    server.latency = 0.0
    script.env["RUN"] = "{}"
    assert script.run() == 0, script.output

    assert bounded <= 2, "the first request of a process goes alone"
    assert "'big' of step 'ask'" in words
    assert "the provider does not tell" in words
    told = [entry for entry in usage_of(script) if entry["model"] == "big"]
    assert [(entry["input_tokens"], entry["output_tokens"], entry["cost"]) for entry in told] == [(None,) * 3] * len(
        told
    )
    statistics = {json.dumps(row["distilmq_metadata"]["statistics_ask"]) for row in script.rows["default"]}
    assert statistics == {'{"input_tokens": null, "output_tokens": null}'}
    assert "≥" not in script.output
    assert "—" in script.output


def test_a_run_without_cache_counts_like_any_other(script: Script, server: ProviderServer) -> None:
    for starts in (1, 2):
        assert script.run(env={"RUN": json.dumps({"use_cache": False})}) == 0, script.output

        assert totals(usage_of(script)) == {"big": (40, 160, 200), "small": (40, 200, 240)}, "each is a run of its own"
        assert billed(server)["big"][0] == 40 * starts


def test_a_step_that_starts_anew_costs_again_and_what_it_cost_stays(script: Script, server: ProviderServer) -> None:
    code = script.path.read_text()
    script.path.write_text(code.replace('name="judge",', 'name="judge", use_cache=False,'))

    assert script.run() == 0, script.output
    assert script.run() == 0, script.output

    assert totals(usage_of(script)) == billed(server) == {"big": (40, 160, 200), "small": (80, 400, 480)}


def test_retries_and_failed_rows_cost_what_was_answered(script: Script, server: ProviderServer) -> None:
    server.fail("row 3 ", status=503, retry_after=0.01, times=2)
    server.fail("row 7 ", status=400)

    assert script.run() == 0, script.output

    assert totals(usage_of(script)) == billed(server) == {"big": (39, 156, 195), "small": (39, 195, 234)}


ENGINE = """
    from distilmq.models import LLM
    from distilmq.steps.tasks import TextGeneration

    class Engine(LLM):
        "Answers whole lists, as engines in the process do."

        @property
        def model_name(self):
            return "engine"

        def generate(self, inputs, num_generations=1, **kwargs):
            given = [len(messages[-1]["content"].split()) for messages in inputs]
            return [
                {"generations": ["yes"], "statistics": {"input_tokens": [tokens], "output_tokens": [1]}}
                for tokens in given
            ]

    with Pipeline("engines") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}"} for n in range(30)])
        load >> TextGeneration(name="ask", llm=Engine(prices={"input": 1, "output": 1}), input_batch_size=10)

    if __name__ == "__main__":
        pipeline.run()
        [entry] = pipeline.last_run.usage
        print("USAGE", entry.model, entry.requests, entry.input_tokens, entry.output_tokens, round(entry.cost, 9))
"""


def test_engines_that_answer_whole_batches_are_counted(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", ENGINE)

    assert script.run() == 0, script.output

    assert "USAGE engine 30 60 30 9e-05" in script.output


ESTIMATE = (
    CODE.partition('    if __name__ == "__main__":')[0]
    + """
    if __name__ == "__main__":
        estimate = pipeline.estimate(rows=10_000, sample=4)
        print(estimate)
        pipeline.dry_run(batch_size=2)
        dry = pipeline.last_run.estimate.requests
        few = pipeline.estimate(rows=1)
        try:
            pipeline.estimate(rows=0)
        except ValueError as error:
            print(error)
        shown = {name: getattr(estimate, name) for name in ("rows", "requests", "input_tokens", "cost", "seconds")}
        (HERE / "estimate.json").write_text(json.dumps({**shown, "dry": dry, "few": few.tried_requests}))
"""
)


def test_an_estimate_is_made_of_some_rows(tmp_path: Path, server: ProviderServer) -> None:
    server.latency = 0.05
    script = Script(tmp_path / "run", ESTIMATE, env=server.env(tmp_path))

    assert script.run() == 0, script.output

    found = json.loads((script.folder / "estimate.json").read_text())
    assert len(server.asked) == 2 * 4 + 2 * 2 + 2 * 1, "no more rows are tried than there will be"
    assert (found["rows"], found["requests"], found["input_tokens"]) == (10_000, 20_000, 90_000)
    assert found["cost"] == pytest.approx(250 * 0.476)
    assert 0.05 * 10_000 / 8 <= found["seconds"] < 10 * 0.05 * 10_000 / 8
    assert found["dry"] == 80, "of the rows that there are"
    assert found["few"] == 2, "of the one row that is said"
    assert "`rows` of an estimate has to be at least 1, not 0" in script.output
    assert "Estimate for 10,000 rows, by 4 tried with 8 requests:" in script.output
    assert "Estimate for 40 rows, by 2 tried with 4 requests:" in script.output
    assert not script.run_dirs, "nothing is left of it"


DYING = """
    import psutil
    from distilmq.errors import CoordinatorLostError
    from distilmq.steps.tasks import TextGeneration
    from distilmq.testing import ScriptedLLM

    @step(inputs=["generation"], outputs=["generation"])
    def end_it(inputs: StepInput):
        if not (HERE / "ended").exists():
            (HERE / "ended").touch()
            coordinator = psutil.Process().parent().parent()
            coordinator.kill()
        yield inputs

    with Pipeline("dying") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}"} for n in range(10)])
        ask = TextGeneration(name="ask", llm=ScriptedLLM())
        load >> ask >> end_it(name="end_it")

    if __name__ == "__main__":
        try:
            pipeline.run()
        except CoordinatorLostError:
            print("LOST", pipeline.last_run.usage.total.requests)
        pipeline.run()
        print("DONE", pipeline.last_run.usage.total.requests)
"""


def test_what_was_counted_outlives_the_coordinator(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", DYING)

    assert script.run() == 0, script.output

    assert "LOST 10" in script.output
    assert "DONE 10" in script.output
