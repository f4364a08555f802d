"""Answers of a shape in real runs: what is malformed is asked again, what is refused fails its row, nothing is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.integration.runs import Script, all_gone, family, kill_tree, until
from tests.servers.providers import ProviderServer

CODE = """
    from pydantic import BaseModel, ConfigDict
    from distilmq.models import OpenAILLM
    from distilmq.steps.tasks import TextGeneration

    class Number(BaseModel):
        model_config = ConfigDict(extra="forbid")
        number: int

    with Pipeline("shaped") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"row {n};"} for n in range(ROWS)], batch_size=50)
        llm = OpenAILLM(model="m", structured_output={"schema": Number}, max_concurrency=8)
        load >> TextGeneration(name="ask", llm=llm, input_batch_size=50)

    if __name__ == "__main__":
        dump(pipeline.run())
        letters = [{key: str(failure[key]) for key in ("step", "error_class", "message", "answer", "attempts")}
                   for failure in pipeline.last_run.failures]
        (HERE / "letters.json").write_text(json.dumps(letters))
        (HERE / "requests.json").write_text(json.dumps(pipeline.last_run.usage.total.requests))
"""
MALFORMED = {"row 17;": "number 17", "row 101;": '{"number": 1', "row 299;": '{"number": "many"}'}


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        running.says = lambda prompt: MALFORMED.get(prompt, '{"number": 1}')
        yield running


def script_for(tmp_path: Path, server: ProviderServer, rows: int) -> Script:
    (tmp_path / "keys").mkdir()
    return Script(tmp_path / "run", CODE.replace("ROWS", str(rows)), env=server.env(tmp_path / "keys"))


def read(script: Script, name: str) -> Any:
    return json.loads((script.folder / name).read_text())


def test_three_malformed_answers_and_a_refused_prompt_among_300_rows_cost_one_row(
    tmp_path: Path, server: ProviderServer
) -> None:
    server.says = lambda prompt: MALFORMED.get(prompt, '{"number": 1}') if prompt != "row 200;" else None
    script = script_for(tmp_path, server, 300)

    assert script.run() == 0, script.output

    rows = script.rows["default"]
    assert [row["instruction"] for row in rows] == [f"row {n};" for n in range(300)]
    assert [n for n, row in enumerate(rows) if row["generation"] != '{"number": 1}'] == [200]
    [letter] = read(script, "letters.json")
    assert (letter["step"], letter["error_class"], letter["answer"]) == ("ask", "RefusedError", "I would rather not.")
    asked = Counter("again" if "cannot be used" in prompt else prompt for prompt in server.prompts)
    assert asked == Counter({"again": 3, **{f"row {n};": 1 for n in range(300)}})


def test_an_answer_that_never_gets_its_shape_is_a_dead_letter_with_what_was_said(
    tmp_path: Path, server: ProviderServer
) -> None:
    server.says = lambda prompt: "I cannot" if prompt == "row 3;" or "cannot be used" in prompt else '{"number": 1}'
    script = script_for(tmp_path, server, 10)

    assert script.run() == 0, script.output

    assert [n for n, row in enumerate(script.rows["default"]) if row["generation"] is None] == [3]
    [letter] = read(script, "letters.json")
    assert letter["error_class"] == "InvalidAnswerError"
    assert (letter["answer"], letter["attempts"]) == ("I cannot", "3")
    assert "it is not JSON" in letter["message"]
    assert len(server.asked) == 12
    assert read(script, "requests.json") == 12


@pytest.mark.parametrize("grouped", [False, True])
def test_of_several_answers_to_a_row_one_without_its_shape_takes_none_along(
    tmp_path: Path, server: ProviderServer, grouped: bool
) -> None:
    answers = iter(["I cannot", *['{"number": 1}'] * 2])
    server.says = lambda prompt: "I cannot" if "cannot be used" in prompt else next(answers, '{"number": 1}')
    (tmp_path / "keys").mkdir()
    more = f"input_batch_size=50, num_generations=3, group_generations={grouped}"
    code = (
        CODE.replace("ROWS", "2").replace("input_batch_size=50", more).replace("max_concurrency=8", "max_concurrency=1")
    )
    script = Script(tmp_path / "run", code, env=server.env(tmp_path / "keys"))

    assert script.run() == 0, script.output

    generations = [row["generation"] for row in script.rows["default"]]
    told = [cast("dict[str, Any]", row["distilmq_metadata"]) for row in script.rows["default"]]
    good = '{"number": 1}'
    if grouped:
        assert generations == [[None, good, good], [good, good, good]]
        [error, *others] = told[0]["generation_errors_ask"]
        assert others == [None, None]
        assert told[0].get("error_ask") is None, "the row has not failed"
    else:
        assert generations == [None, good, good, good, good, good]
        error = told[0]["error_ask"]
        assert [each.get("error_ask") for each in told[1:]] == [None] * 5
    assert error.startswith("InvalidAnswerError: 'm' gave an answer without the shape that was asked for")
    [letter] = read(script, "letters.json")
    assert (letter["error_class"], letter["answer"], letter["attempts"]) == ("InvalidAnswerError", "I cannot", "3")
    assert len(server.asked) == 4


def test_a_killed_run_pays_for_no_answer_twice_and_takes_no_malformed_one_for_the_last(
    tmp_path: Path, server: ProviderServer
) -> None:
    script = script_for(tmp_path, server, 30)
    server.hold(after=24)
    process = script.start()
    until(lambda: len(server.answered) == 24 and server.waiting == 7, "six rows and one that is asked again")
    until(lambda: script.answers() == 24, "twenty-four recorded answers")
    processes = family(process.pid)
    kill_tree(process.pid)
    process.wait()
    until(lambda: all_gone(processes) and server.waiting == 0, "no process outlives the run, and the server knows")
    answered = Counter(asked.prompt for asked in server.answered)
    server.release()

    assert script.run() == 0, script.output

    assert [row["generation"] for row in script.rows["default"]] == ['{"number": 1}'] * 30
    assert answered["row 17;"] == 1, "the malformed answer came before the kill"
    paid = Counter(asked.prompt for asked in server.answered)
    assert {prompt: times for prompt, times in paid.items() if times > 1} == {}
    assert sum("cannot be used" in prompt for prompt in paid) == 1
