"""`vLLM` and `vLLMEmbeddings` with the real engine, on the CPU: tiny models of random weights."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from distilmq.errors import InvalidRequestError, RequestsFailedError, TooLongError
from distilmq.models import vLLM, vLLMEmbeddings
from distilmq.pipeline import Pipeline
from distilmq.steps import LoadDataFromDicts
from distilmq.steps.tasks import TextGeneration
from tests.waiting import until

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]  # an engine takes a quarter of a minute to start

LONG = {"format": "regex", "schema": "a{180}"}
SHORT = {"format": "regex", "schema": "yes|no"}


@pytest.fixture(scope="module", autouse=True)
def small_cache() -> Iterator[None]:
    """One GiB for keys and values: the engine's own default is a share of the machine's memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        yield


def model_of(folder: Path, **more: Any) -> vLLM:
    return vLLM(model=str(folder), dtype="float32", extra_kwargs={"max_model_len": 256, "enforce_eager": True}, **more)


@pytest.fixture(scope="module")
def llm(language_model: Path, small_cache: None) -> Iterator[vLLM]:
    model = model_of(language_model)
    model.load()
    asked(model, "its threads begin with the first request")
    yield model
    own = engines()
    model.unload()
    assert own
    psutil.wait_procs(own, timeout=30)
    assert not [each for each in own if each.is_running()]


def engines() -> list[psutil.Process]:
    """The processes of engines that this process has started itself."""
    return [each for each in psutil.Process().children() if _is_engine(each)]


def engines_of_runs() -> list[psutil.Process]:
    """The processes of engines that steps of runs have started."""
    below = psutil.Process().children(recursive=True)
    return [each for each in below if _is_engine(each) and each not in psutil.Process().children()]


def _is_engine(process: psutil.Process) -> bool:
    try:
        return "EngineCore" in " ".join(process.cmdline())
    except psutil.Error:  # it is gone meanwhile
        return False


def asked(llm: vLLM, *inputs: Any, **kwargs: Any) -> list[Any]:
    return list(llm.generate_outputs(list(inputs), **kwargs))


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_tokens_are_those_of_prompt_and_answer(llm: vLLM) -> None:
    [chatted, text] = asked(llm, chat("Hi"), "Hi", max_new_tokens=6)

    assert chatted["statistics"]["input_tokens"] == [len("[user]Hi[assistant]") + 1]  # and the one that begins it
    assert 1 <= text["statistics"]["output_tokens"][0] <= 6
    assert isinstance(text["generations"][0], str)


def test_several_answers_are_sampled_with_their_log_probabilities(llm: vLLM) -> None:
    [output] = asked(llm, chat("a"), num_generations=3, max_new_tokens=8, logprobs=2)

    assert len(set(output["generations"])) == 3
    assert [len(answer) for answer in output["logprobs"]] == output["statistics"]["output_tokens"]
    assert all(len(place) >= 2 for answer in output["logprobs"] for place in answer)


def test_the_engine_is_greedy_where_it_is_told_and_may_give_the_prompt_back(llm: vLLM) -> None:
    [one] = asked(llm, "Hi", temperature=0.0, max_new_tokens=4)
    [other] = asked(llm, "Hi", temperature=0.0, max_new_tokens=4, echo=True)

    assert other["generations"] == [f"Hi{one['generations'][0]}"]


def test_answers_have_the_shape_that_each_of_them_is_to_have(llm: vLLM) -> None:
    flag = {"type": "object", "properties": {"flag": {"type": "boolean"}}, "required": ["flag"]}

    shaped, chosen, free = asked(
        llm, (chat("json"), {"schema": flag}), ("choose", SHORT), chat("free"), max_new_tokens=120, temperature=0.5
    )

    assert json.loads(shaped["generations"][0])["flag"] in (True, False)
    assert chosen["generations"][0] in ("yes", "no")
    assert free["generations"][0] is not None


def test_an_input_that_the_engine_does_not_take_fails_alone(llm: vLLM) -> None:
    with pytest.raises(RequestsFailedError) as raised:
        asked(llm, chat("fits"), chat("x" * 300), max_new_tokens=4)

    assert list(raised.value.failures) == [1]
    assert isinstance(raised.value.failures[1], TooLongError)
    assert re.search("takes 256 tokens, and this prompt has 3..", str(raised.value.failures[1]))


def test_sampling_that_the_engine_does_not_take_is_named(llm: vLLM) -> None:
    with pytest.raises(InvalidRequestError, match=r"vLLM does not take this request.*temperature"):
        asked(llm, chat("a"), temperature=-1.0)


def test_a_short_answer_does_not_wait_for_a_long_one_of_another_batch(llm: vLLM) -> None:
    done: list[str] = []
    started = threading.Event()

    def ask(name: str, shape: dict[str, str]) -> None:
        started.set()
        asked(llm, *[(chat(name), shape)] * 4, max_new_tokens=200)
        done.append(name)

    with ThreadPoolExecutor(2) as threads:
        long = threads.submit(ask, "long", LONG)
        started.wait()
        threads.submit(ask, "short", SHORT).result()
        long.result()

    assert done == ["short", "long"]


@pytest.fixture(scope="module")
def embeddings(bert: Path, small_cache: None) -> Iterator[vLLMEmbeddings]:
    model = vLLMEmbeddings(model=str(bert), dtype="float32")
    model.load()
    model.encode(["its threads begin with the first request"])
    yield model
    model.unload()


def test_vectors_come_from_the_engine(embeddings: vLLMEmbeddings) -> None:
    one, other, same = embeddings.encode(["a text", "another", "a text"])

    assert [len(one), len(other)] == [32, 32]
    assert one == pytest.approx(same, abs=1e-5)
    assert one != pytest.approx(other, abs=1e-3)


class Noting(TextGeneration):
    """Notes each answer in a file."""

    notes: str

    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
        with open(self.notes, "a") as notes:
            notes.write(f"{(input or {})['instruction']}\n")
        return super().format_output(output, input)


def test_a_killed_process_takes_its_engine_along_and_no_row_is_lost(language_model: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    sampling = {"max_new_tokens": 100, "extra_sampling_params": {"ignore_eos": True}}
    with Pipeline("vllm-killed") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"question {n}"} for n in range(600)])
        llm = model_of(language_model, generation_kwargs=sampling)
        load >> Noting(name="ask", notes=str(notes), llm=llm, input_batch_size=10)

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pipeline.run, use_cache=False)
        until(lambda: len(notes.read_text().splitlines()) > 20, "no answers came", 120)
        [engine] = engines_of_runs()
        os.kill(engine.ppid(), signal.SIGKILL)
        until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE, "its engine lives on")
        rows = running.result()["default"]["train"].to_list()

    assert [row["instruction"] for row in rows] == [f"question {n}" for n in range(600)]
    assert all(row["distilmq_metadata"]["statistics_ask"]["output_tokens"] == 100 for row in rows)
    assert len(notes.read_text().splitlines()) >= 600
    assert not engines_of_runs()
