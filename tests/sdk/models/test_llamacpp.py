"""`LlamaCppLLM` with a real model: Gemma 3 270M from the package index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import cloudpickle
import psutil
import pytest
from pydantic import BaseModel, ConfigDict, Field

from distilmq.errors import (
    DistilmqUserError,
    InvalidAnswerError,
    RequestsFailedError,
)
from distilmq.models import LlamaCppLLM
from distilmq.models.llms.gguf import has_chat_template, quickstart_weights
from distilmq.models.llms.utils import as_text


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quickstart_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def llm(weights: Path) -> Iterator[LlamaCppLLM]:
    model = LlamaCppLLM(model_path=weights, n_ctx=256, seed=7)
    model.load()
    model.generate_outputs([chat("Hello")] * 4, max_new_tokens=1)  # its threads are there before the first test
    yield model
    model.unload()


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_it_generates_text_for_several_requests_at_once(llm: LlamaCppLLM) -> None:
    outputs = llm.generate_outputs(
        [chat("The capital of France is"), chat("One, two, three,")], max_new_tokens=4, temperature=0.0
    )

    texts = [output["generations"][0] for output in outputs]
    assert all(isinstance(text, str) and text for text in texts)
    assert [output["statistics"]["output_tokens"] for output in outputs] == [[4], [4]]
    assert outputs[0]["statistics"]["input_tokens"][0] >= 5


def test_each_generation_takes_a_seed_of_its_own(llm: LlamaCppLLM) -> None:
    [output] = llm.generate_outputs([chat("Once upon a time")], num_generations=2, max_new_tokens=8)

    assert output["generations"][0] != output["generations"][1]


def test_a_schema_shapes_its_answers(llm: LlamaCppLLM) -> None:
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    schema["additionalProperties"] = False

    [output] = llm.generate_outputs(
        [(chat("Is water wet? As JSON:"), {"format": "json", "schema": schema})], max_new_tokens=16, temperature=0.0
    )

    assert isinstance(json.loads(output["generations"][0] or "")["yes"], bool)


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Sight(Closed):
    kind: Literal["tower", "bridge", "museum"]
    open: bool


class City(Closed):
    name: Annotated[str, Field(max_length=8)]
    sight: Sight


EXAMPLES = """A city of Spain, as JSON: {"name":"Madrid","sight":{"kind":"museum","open":true}}
A city of England, as JSON: {"name":"London","sight":{"kind":"bridge","open":false}}
A city of {country}, as JSON: """


def test_every_answer_of_a_nested_schema_validates(weights: Path) -> None:
    llm = LlamaCppLLM(model_path=weights, n_ctx=512, seed=3, structured_output={"schema": City})
    llm.load()

    outputs = llm.generate_outputs(
        [chat(EXAMPLES.replace("{country}", country)) for country in ("France", "Japan", "Peru", "Mali")],
        num_generations=2,
        max_new_tokens=96,  # far more than an answer takes
    )

    llm.unload()
    answers = [City.model_validate_json(text or "") for output in outputs for text in output["generations"]]
    assert len(answers) == 8
    assert len({answer.model_dump_json() for answer in answers}) > 1


def test_an_answer_that_is_cut_off_is_asked_for_again_and_then_fails_its_row(weights: Path) -> None:
    llm = LlamaCppLLM(model_path=weights, n_ctx=512, structured_output={"schema": City}, max_validation_retries=1)
    llm.load()

    with pytest.raises(InvalidAnswerError, match="it ends before its JSON does") as caught:
        llm.generate_outputs([chat("A city of France, as JSON:")], max_new_tokens=4)

    llm.unload()
    assert (caught.value.answer or "").lstrip().startswith("{")
    assert caught.value.attempts == 2


def test_a_prompt_that_is_too_long_fails_alone(llm: LlamaCppLLM) -> None:
    with pytest.raises(RequestsFailedError, match="exceeds the available context size") as caught:
        llm.generate_outputs([chat("word " * 900), chat("Hello")], max_new_tokens=2)

    assert list(caught.value.failures) == [0]


def test_unloading_gives_the_memory_back(weights: Path) -> None:
    llm = LlamaCppLLM(model_path=weights, n_ctx=256)
    llm.load()
    llm.generate_outputs([chat("Hello")], max_new_tokens=1)
    loaded = psutil.Process().memory_info().rss

    llm.unload()

    assert psutil.Process().memory_info().rss < loaded - 100_000_000


def test_a_loaded_model_travels_without_its_weights(llm: LlamaCppLLM) -> None:
    copy = cloudpickle.loads(cloudpickle.dumps(llm))

    assert copy.model_path == llm.model_path
    assert copy.model_name == "gemma-3-270m-q4_k_m"


def test_it_says_when_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match="there is no such file"):
        LlamaCppLLM(model_path=tmp_path / "no.gguf").load()


def test_it_says_when_the_file_holds_no_model(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"not a model")

    with pytest.raises(DistilmqUserError, match="cannot load"):
        LlamaCppLLM(model_path=tmp_path / "no.gguf").load()


def test_it_says_when_the_engine_lacks_a_parameter(weights: Path) -> None:
    with pytest.raises(DistilmqUserError, match="name 'n_wings'"):
        LlamaCppLLM(model_path=weights, extra_kwargs={"n_wings": 2}).load()


def test_the_model_writes_the_users_turn(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages[0].content }} said: "}))
    llm = LlamaCppLLM(
        model_path=weights,
        n_ctx=256,
        tokenizer_id=str(tmp_path),
        use_magpie_template=True,
        magpie_pre_query_template="The capital of France is",
    )
    llm.load()

    told = "A guide said: The capital of France is"
    outputs = llm.generate_outputs(
        [[], "The capital of France is", [{"role": "system", "content": "A guide"}], told], max_new_tokens=4
    )

    llm.unload()
    empty, alone, system, text = [output["statistics"]["input_tokens"] for output in outputs]
    assert (empty, system) == (alone, text)
    assert all(output["generations"][0] for output in outputs)


def test_a_base_model_has_no_chat_template(weights: Path) -> None:
    assert not has_chat_template(weights)


def test_a_base_model_goes_on_with_a_single_message_and_is_told_who_speaks_in_longer_ones() -> None:
    assert as_text([{"role": "system", "content": "Facts."}, {"role": "user", "content": "Paris is"}]) == (
        "Facts.\n\nParis is"
    )
    assert (
        as_text(
            [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": "Bye"},
            ]
        )
        == "User: Hi\n\nAssistant: Hello\n\nUser: Bye\n\nAssistant:"
    )


def test_it_can_be_unloaded_at_once(weights: Path) -> None:
    for _ in range(3):
        llm = LlamaCppLLM(model_path=weights, n_ctx=256)
        llm.load()
        llm.unload()
