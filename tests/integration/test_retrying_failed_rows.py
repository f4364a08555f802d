"""`distilmq failures`: failed rows are computed again without the script, and nothing that was answered is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.integration.runs import Script, all_gone, family, kill_tree, until
from tests.servers.providers import ProviderServer

CHAIN = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    class Rank(GlobalStep):
        @property
        def inputs(self): return ["second"]
        @property
        def outputs(self): return ["rank"]
        def process(self, inputs: StepInput):
            order = sorted(str(row["second"]) for row in inputs)
            yield [{**row, "rank": order.index(str(row["second"]))} for row in inputs]

    with Pipeline("chain") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}."} for n in range(60)], batch_size=20)
        ask = TextGeneration(name="ask", llm=OpenAILLM(model="m", max_retries=1), input_batch_size=20)
        again = TextGeneration(
            name="again",
            llm=OpenAILLM(model="n"),
            input_batch_size=15,
            input_mappings={"instruction": "generation"},
            output_mappings={"generation": "second", "model_name": "second_model"},
        )
        load >> ask >> again >> Rank(name="rank")

    if __name__ == "__main__":
        dump(pipeline.run())
"""


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        running.says = lambda prompt: prompt.upper()
        yield running


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys"


def failures(script: Script, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `distilmq failures …` beside the script, in its environment."""
    return subprocess.run(
        [sys.executable, "-m", "distilmq", "failures", *arguments],
        env={**os.environ, **script.env, "DISTILMQ_CACHE_DIR": str(script.cache), "SCRIPT_DIR": str(script.folder)},
        cwd=script.folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def of_a_run_without_failures(tmp_path: Path, code: str, server: ProviderServer) -> dict[str, list[dict[str, object]]]:
    """The dataset that the same script gives where nothing fails."""
    server.recover()
    script = Script(tmp_path / "flawless", code, server.env(tmp_path / "keys"))
    assert script.run() == 0, script.output
    return script.rows


def test_failed_rows_are_asked_again_without_the_script_and_no_other_row_is(
    tmp_path: Path, keys: Path, server: ProviderServer
) -> None:
    script = Script(tmp_path / "run", CHAIN, server.env(keys))
    for text in ("row 7.", "row 23.", "row 24.", "row 59."):
        server.fail(text, status=400, message="not like this")
    assert script.run() == 0, script.output
    (first,) = script.run_dirs
    server.recover()
    server.asked.clear()
    script.path.rename(tmp_path / "moved.py")

    done = failures(script, "retry", "chain")

    assert done.returncode == 0, done.stderr
    assert "4 failed row(s) were computed again, no failed row is left" in done.stdout
    sent = Counter((asked.model, asked.prompt) for asked in server.asked)
    failed = [f"row {n}." for n in (7, 23, 24, 59)]
    assert sent == Counter([("m", text) for text in failed] + [("n", text.upper()) for text in failed])

    (tmp_path / "moved.py").rename(script.path)
    server.asked.clear()
    assert script.run() == 0, script.output
    assert server.asked == [], "the next run of the script finds everything"
    assert {path.name for path in script.run_dirs} == {first.name, f"{first.name}-2"}
    assert script.rows == of_a_run_without_failures(tmp_path, CHAIN, server)


def test_only_the_rows_of_one_error_are_asked_again(tmp_path: Path, keys: Path, server: ProviderServer) -> None:
    script = Script(tmp_path / "run", CHAIN, server.env(keys))
    server.fail("row 7.", status=400, message="not like this")
    server.fail("row 23.", status=500, message="out of order")
    assert script.run() == 0, script.output
    server.recover()
    server.asked.clear()

    done = failures(script, "retry", "chain", "--step", "ask", "--error", "TransientError")

    assert "1 failed row(s) were computed again, 1 failed row(s) are left" in done.stdout, done.stderr
    assert Counter(server.prompts) == Counter(["row 23.", "ROW 23."])
    assert script.run() == 0
    rows = script.rows["default"]
    assert [row["second"] for row in rows] == [None if n == 7 else f"ROW {n}." for n in range(60)]
    (left,) = [json.loads(line) for line in failures(script, "list", "chain", "--json").stdout.splitlines()]
    assert (left["error_class"], left["input"]["instruction"]) == ("InvalidRequestError", "row 7.")


def test_failed_rows_are_listed_and_shown_with_all_that_is_known(
    tmp_path: Path, keys: Path, server: ProviderServer
) -> None:
    script = Script(tmp_path / "run", CHAIN, server.env(keys))
    server.fail("row 7.", status=400, message="not like this")
    server.fail("row 23.", status=500, message="out of order")
    assert script.run() == 0, script.output

    listed = failures(script, "list", str(script.run_dirs[0]))
    shown = failures(script, "show", script.run_dirs[0].name, "2")
    one = json.loads(failures(script, "list", "chain", "--error", "out of order", "--json").stdout)
    none = failures(script, "list", "chain", "--step", "asks")

    assert "2 failed row(s): 1 InvalidRequestError in 'ask', 1 TransientError in 'ask'" in listed.stdout
    assert "0 of 2 failed row(s): 1 InvalidRequestError in 'ask'" in none.stdout
    for words in ("Failed row 2 in step 'ask'", "Attempts: 2", '"instruction": "row 23."', "Traceback"):
        assert words in shown.stdout
    assert (one["step"], one["error_class"], one["attempts"]) == ("ask", "TransientError", 2)
    assert one["message"].endswith("out of order") or "out of order" in one["message"]
    assert one["worker"]
    assert one["time"] > 0


def test_a_retry_without_a_key_says_so_and_goes_on_when_there_is_one(
    tmp_path: Path, keys: Path, server: ProviderServer
) -> None:
    script = Script(tmp_path / "run", CHAIN, server.env(keys))
    server.fail("row 7.", status=400, message="not like this")
    assert script.run() == 0, script.output
    server.recover()
    server.asked.clear()
    env, script.env = script.env, {name: value for name, value in script.env.items() if name != "OPENAI_API_KEY"}

    without = failures(script, "retry", "chain")
    script.env = env
    done = failures(script, "retry", "chain")

    assert without.returncode == 1
    assert "OPENAI_API_KEY" in without.stderr
    assert "The revision is finished, no failed row is left" in done.stdout, done.stderr
    assert Counter(server.prompts) == Counter(["row 7.", "ROW 7."])
    assert len(script.run_dirs) == 2


def test_what_is_no_run_is_named(tmp_path: Path, keys: Path, server: ProviderServer) -> None:
    script = Script(tmp_path / "run", CHAIN, server.env(keys))
    assert script.run() == 0, script.output

    absent = failures(script, "list", "chian")
    flawless = failures(script, "retry", "chain")

    assert (absent.returncode, flawless.returncode) == (1, 1)
    assert "'chian' is no run" in absent.stderr
    assert "There are runs of: chain." in absent.stderr
    assert "No row of the run failed" in flawless.stderr


JOINED = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    with Pipeline("joined") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}."} for n in range(40)], batch_size=10)
        tasks = [
            TextGeneration(name=f"ask_{m}", llm=OpenAILLM(model=m), input_batch_size=5, num_generations=GENERATIONS,
                group_generations=True)
            for m in ("a", "b", "c")
        ]
        group = GroupColumns(name="group", columns=["generation", "model_name"], input_batch_size=10)
        more = TextGeneration(
            name="more",
            llm=OpenAILLM(model="d"),
            num_generations=2,
            input_batch_size=8,
            output_mappings={"generation": "another"},
        )
        last = TextGeneration(
            name="last", llm=OpenAILLM(model="e"), input_batch_size=10, output_mappings={"generation": "end"}
        )
        load >> sample_n_steps(2) >> tasks >> group >> more >> last

    if __name__ == "__main__":
        dump(pipeline.run())
"""


def good(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The rows of which no step failed, without the columns that only failed rows have."""
    return [
        {
            **row,
            "distilmq_metadata": {name: told for name, told in row["distilmq_metadata"].items() if told is not None},
        }  # type: ignore[attr-defined]  # it is JSON
        for row in rows
        if row["instruction"] not in ("row 7.", "row 23.", "row 31.")
    ]


def test_joins_routing_and_several_generations_go_on_as_they_were(
    tmp_path: Path, keys: Path, server: ProviderServer
) -> None:
    script = Script(tmp_path / "run", "GENERATIONS = 2\n" + dedent(JOINED), server.env(keys))
    server.fail("row 7.", status=400, message="not like this", model="a")
    server.fail("row 23.", status=400, message="not like this", model="d")
    server.fail("row 31.", status=400, message="not like this")
    assert script.run() == 0, script.output
    before = script.rows["default"]
    asked_before = Counter((asked.model, asked.prompt) for asked in server.asked)
    server.recover()
    server.asked.clear()

    done = failures(script, "retry", "joined")

    assert done.returncode == 0, done.stderr
    asked = Counter((asked.model, asked.prompt) for asked in server.asked)
    assert {prompt for _, prompt in asked} <= {"row 7.", "row 23.", "row 31."}
    routed = {model for model, prompt in asked_before if prompt == "row 31."}
    assert {model for model, prompt in asked if prompt == "row 31."} == {*routed, "d", "e"}, "routed as before"
    assert asked["d", "row 7."] == (asked["a", "row 7."] > 0), "only what was made from the failed row is asked"
    assert script.run() == 0, script.output
    rows = script.rows["default"]
    assert [row["instruction"] for row in rows] == [f"row {n}." for n in range(40) for _ in range(2)]
    assert len(before) < 80
    assert all(row["end"] is not None and row["another"] is not None for row in rows)
    assert good(rows) == good(before)


COUNTING = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import Task

    class Count(Task):
        @property
        def inputs(self): return ["instruction"]
        @property
        def outputs(self): return ["number", "model_name"]
        def format_input(self, input): return [{"role": "user", "content": input["instruction"]}]
        def format_output(self, output, input=None): return {"number": int(output)}

    with Pipeline("counting") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}."} for n in range(30)])
        load >> Count(name="count", llm=OpenAILLM(model="m"))

    if __name__ == "__main__":
        distiset = pipeline.run()
        first = pipeline.last_run
        (HERE / "letters.json").write_text(json.dumps(first.failures, default=str))
        if first.failures:
            again = first.retry_failures(error="ValueError")
            assert pipeline.last_run is again and again.failures == []
            distiset = again.distiset()
        dump(distiset)
"""


def test_an_answer_of_no_use_is_a_dead_letter_and_is_asked_for_again(
    tmp_path: Path, keys: Path, server: ProviderServer
) -> None:
    said: Counter[str] = Counter()

    def says(prompt: str) -> str:
        said[prompt] += 1
        return "thirteen" if prompt == "row 13." and said[prompt] == 1 else prompt.strip("row .")

    server.says = says
    script = Script(tmp_path / "run", COUNTING, server.env(keys))

    assert script.run() == 0, script.output

    (letter,) = json.loads((script.folder / "letters.json").read_text())
    assert (letter["step"], letter["error_class"], letter["answer"]) == ("count", "ValueError", "thirteen")
    assert letter["input"]["instruction"] == "row 13."
    assert [row["number"] for row in script.rows["default"]] == list(range(30))
    assert said == Counter({f"row {n}.": 2 if n == 13 else 1 for n in range(30)})


def test_a_retry_that_is_killed_goes_on_with_the_script_and_asks_nothing_twice(
    tmp_path: Path, keys: Path, server: ProviderServer
) -> None:
    script = Script(tmp_path / "run", CHAIN, server.env(keys))
    for n in (7, 23, 24, 59):
        server.fail(f"row {n}.", status=400, message="not like this")
    assert script.run() == 0, script.output
    server.recover()
    server.asked.clear()
    server.hold(after=2)
    command = [sys.executable, "-m", "distilmq", "failures", "retry", "chain"]
    env = {**os.environ, **script.env, "DISTILMQ_CACHE_DIR": str(script.cache), "SCRIPT_DIR": str(script.folder)}
    retry = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(server.asked) >= 4, "requests that are out")
    until(lambda: script.answers() > 0 or len(server.asked) > 4, "an answer that is recorded")
    processes = family(retry.pid)
    kill_tree(retry.pid)
    retry.wait()
    until(lambda: all_gone(processes), "no process outlives the retry")
    server.release()

    assert script.run() == 0, script.output

    failed = {f"row {n}." for n in (7, 23, 24, 59)}
    assert {asked.prompt for asked in server.asked} == failed | {text.upper() for text in failed}
    assert script.rows == of_a_run_without_failures(tmp_path, CHAIN, server)


SEVERAL = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    class OneByOne(OpenAILLM):
        "Asks for each generation by a request of its own."
        _num_generations_param_supported = False
        async def agenerate(self, input, max_new_tokens: int = 128):
            return await super().agenerate(input, num_generations=1, max_new_tokens=max_new_tokens)

    class Marked(TextGeneration):
        def format_output(self, output, input=None):
            if output is not None and "BAD" in output:
                raise ValueError("it holds BAD")
            return super().format_output(output, input)

    with Pipeline("several") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}."} for n in range(20)], batch_size=20)
        model = MODEL(model="m", max_retries=0, max_concurrency=1)
        load >> Marked(name="ask", llm=model, num_generations=3, input_batch_size=10, group_generations=True)

    if __name__ == "__main__":
        dump(pipeline.run())
"""


def saying_bad(*places: int) -> Callable[[str], str | None]:
    """Answers by number; to row 7 those at some places are of no use."""
    said: Counter[str] = Counter()

    def says(prompt: str) -> str | None:
        said[prompt] += 1
        bad = prompt == "row 7." and said[prompt] - 1 in places
        return f"{'BAD ' if bad else ''}{said[prompt]} to {prompt}"

    return says


@pytest.mark.parametrize("model", ["OneByOne", "OpenAILLM"])
def test_of_several_generations_only_the_one_that_was_lost_is_asked_for_again(
    tmp_path: Path, keys: Path, server: ProviderServer, model: str
) -> None:
    server.says = saying_bad(1)
    script = Script(tmp_path / "run", SEVERAL.replace("MODEL", model), server.env(keys))
    assert script.run() == 0, script.output
    before = script.rows["default"]
    server.asked.clear()

    done = failures(script, "retry", "several")

    assert "1 failed row(s) were computed again, no failed row is left" in done.stdout, done.stderr
    assert [asked.prompt for asked in server.asked] == ["row 7."]
    assert server.asked[0].body.get("n", 1) == 1
    assert script.run() == 0, script.output
    assert len(server.asked) == 1
    rows = script.rows["default"]
    assert before[7]["generation"] == ["1 to row 7.", None, "3 to row 7."]
    assert sorted(rows[7]["generation"]) == ["1 to row 7.", "3 to row 7.", "4 to row 7."]
    assert [row for row in rows if row["instruction"] != "row 7."] == [
        row for row in before if row["instruction"] != "row 7."
    ]


def test_a_generation_that_was_refused_by_the_server_is_asked_for_again_and_no_other(
    tmp_path: Path, keys: Path, server: ProviderServer
) -> None:
    said: Counter[str] = Counter()

    def says(prompt: str) -> str | None:
        said[prompt] += 1
        return f"{said[prompt]} to {prompt}"

    server.says = says
    server.fail("row 7.", status=400, message="not like this", times=1)
    server.fail("row 8.", status=500, message="out of order", times=2)
    script = Script(tmp_path / "run", SEVERAL.replace("MODEL", "OneByOne"), server.env(keys))
    assert script.run() == 0, script.output
    assert said["row 7."] == 2
    server.asked.clear()

    done = failures(script, "retry", "several")

    assert "no failed row is left" in done.stdout, done.stderr
    assert Counter(server.prompts) == {"row 7.": 1, "row 8.": 2}


TALKING = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import Task

    class Talk(Task):
        "Asks three times about each row; the second answer has to be a number."

        @property
        def inputs(self): return ["instruction"]
        @property
        def outputs(self): return ["number", "end"]
        def format_input(self, input): return [{"role": "user", "content": input["instruction"]}]
        def format_output(self, output, input=None): raise NotImplementedError
        def process(self, inputs: StepInput):
            rows = []
            for row in inputs:
                said = row["instruction"]
                texts = []
                for turn in range(3):
                    asked = [{"role": "user", "content": f"{turn} {row['instruction']}"}]
                    output = self.llm.generate_outputs([asked])[0]
                    texts.append(output["generations"][0])
                    if turn == 1:
                        number = int(texts[1])
                rows.append({**row, "number": number, "end": texts[2]})
            yield rows

    with Pipeline("talking") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}."} for n in range(12)], batch_size=12)
        load >> Talk(name="talk", llm=OpenAILLM(model="m", max_retries=0), input_batch_size=SIZE)

    if __name__ == "__main__":
        dump(pipeline.run())
"""


@pytest.mark.parametrize("size", [1, 12])
def test_of_several_calls_about_a_row_those_before_the_failed_one_are_not_made_again(
    tmp_path: Path, keys: Path, server: ProviderServer, size: int
) -> None:
    said: Counter[str] = Counter()

    def says(prompt: str) -> str | None:
        said[prompt] += 1
        return "no number" if prompt == "1 row 5." and said[prompt] == 1 else "7"

    server.says = says
    server.fail("2 row 3.", status=400, message="not like this")
    script = Script(tmp_path / "run", TALKING.replace("SIZE", str(size)), server.env(keys))
    assert script.run() == 0, script.output
    assert Counter(server.prompts).most_common(1)[0][1] == 1, "nor are they when the failing rows are looked for"
    server.recover()
    server.asked.clear()

    done = failures(script, "retry", "talking")

    assert "2 failed row(s) were computed again, no failed row is left" in done.stdout, done.stderr
    assert Counter(server.prompts) == Counter(["2 row 3.", "1 row 5.", "2 row 5."])


def test_a_row_that_fails_again_by_answers_of_before_is_asked_from_its_start_the_next_time(
    tmp_path: Path, keys: Path, server: ProviderServer
) -> None:
    said: Counter[str] = Counter()

    def says(prompt: str) -> str | None:
        said[prompt] += 1
        return "no number" if prompt == "0 row 5." and said[prompt] == 1 else "7"

    server.says = says
    code = (
        TALKING.replace("SIZE", "12")
        .replace("if turn == 1:", "if turn == 2:")
        .replace("int(texts[1])", "int(texts[0])")
    )
    script = Script(tmp_path / "run", code, server.env(keys))
    assert script.run() == 0, script.output
    server.asked.clear()

    first = failures(script, "retry", "talking")
    asked_first = Counter(server.prompts)
    second = failures(script, "retry", "talking")

    assert "1 failed row(s) are left" in first.stdout, first.stderr
    assert asked_first == Counter(["2 row 5."]), "only what came last is suspected"
    assert "no failed row is left" in second.stdout, second.stderr
    assert Counter(server.prompts) - asked_first == Counter(["0 row 5.", "1 row 5.", "2 row 5."])


SHAPED = """
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    with Pipeline("shaped") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}."} for n in range(12)], batch_size=12)
        model = OpenAILLM(model="m", structured_output={"schema": SCHEMA}, max_validation_retries=1)
        load >> TextGeneration(name="ask", llm=model, num_generations=2, group_generations=True)

    if __name__ == "__main__":
        dump(pipeline.run())
"""


def test_a_generation_that_never_got_its_shape_is_asked_for_anew_from_its_start(
    tmp_path: Path, keys: Path, server: ProviderServer
) -> None:
    said: Counter[str] = Counter()

    def says(prompt: str) -> str | None:
        said[prompt] += 1
        if prompt == "row 7." and said[prompt] == 1:
            return '{"b": 1}'
        if "cannot be used" in prompt:
            return '{"b": 2}'
        return '{"a": 1}'

    server.says = says
    script = Script(tmp_path / "run", SHAPED, server.env(keys))
    assert script.run() == 0, script.output
    assert script.rows["default"][7]["generation"] == [None, '{"a": 1}']
    assert len(server.asked) == 13, "one more, for the answer without its shape"
    server.asked.clear()

    done = failures(script, "retry", "shaped")

    assert "1 failed row(s) were computed again, no failed row is left" in done.stdout, done.stderr
    assert server.prompts == ["row 7."]


BY_JOB = """
    from distilmq.models import AnthropicLLM, MistralLLM, OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    classes = {"openai": OpenAILLM, "anthropic": AnthropicLLM, "mistral": MistralLLM}

    with Pipeline("by-job") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n}."} for n in range(60)], batch_size=20)
        llm = classes[os.environ["PROVIDER"]](
            model="gpt-4",
            use_offline_batch_generation=True,
            offline_batch_generation_block_until_done=1,
        )
        load >> TextGeneration(name="ask", llm=llm, input_batch_size=20, num_generations=2)

    if __name__ == "__main__":
        dump(pipeline.run())
"""


@pytest.mark.parametrize("provider", ["openai", "anthropic", "mistral"])
def test_rows_that_failed_in_a_batch_job_are_asked_again_in_another(
    tmp_path: Path, keys: Path, server: ProviderServer, provider: str
) -> None:
    script = Script(tmp_path / "run", BY_JOB, {**server.env(keys), "PROVIDER": provider})
    for text in ("row 7.", "row 23.", "row 59."):
        server.fail(text, status=400, message="not like this", code="invalid_request_error")
    assert script.run() == 0, script.output
    server.recover()
    server.asked.clear()

    done = failures(script, "retry", "by-job")

    assert done.returncode == 0, done.stderr
    assert "3 failed row(s) were computed again, no failed row is left" in done.stdout
    assert {asked.prompt for asked in server.asked} == {"row 7.", "row 23.", "row 59."}
    first, second = server.jobs.begun
    assert len(first.lines) / 60 == len(second.lines) / 3, "of each row as many requests as at first"
    assert server.jobs.files == []
    assert script.run() == 0, script.output
    assert [row["generation"] for row in script.rows["default"]] == [f"ROW {n}." for n in range(60) for _ in range(2)]
