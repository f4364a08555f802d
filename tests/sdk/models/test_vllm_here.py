"""`vLLM` and `vLLMEmbeddings` without their engine: what it is given, and what is made of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from distilmq.errors import DistilmqUserError
from distilmq.models import LLM, vLLM, vLLMEmbeddings
from distilmq.models.llms.shapes import shape_of
from distilmq.models.llms.vllm_engine import gpus_wanted
from distilmq.models.llms.vllm_here import output_of, structure_of


@dataclass
class Likely:
    """As `vllm.logprobs.Logprob`."""

    decoded_token: str | None
    logprob: float


@dataclass
class Answer:
    """As `vllm.outputs.CompletionOutput`."""

    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Likely]] | None = None


@dataclass
class Output:
    """As `vllm.outputs.RequestOutput`."""

    prompt_token_ids: list[int]
    outputs: list[Answer]


def test_texts_and_tokens_are_those_of_the_engine() -> None:
    output = Output([1, 2, 3], [Answer("Hello", [4, 5]), Answer("Hi", [6])])

    assert output_of(output) == {
        "generations": ["Hello", "Hi"],
        "statistics": {"input_tokens": [3], "output_tokens": [2, 1]},
    }
    assert output_of(output, before="Say: ")["generations"] == ["Say: Hello", "Say: Hi"]


def test_log_probabilities_come_with_the_answers() -> None:
    place = {4: Likely("Hel", -0.5), 9: Likely(None, -2.0)}

    output = output_of(Output([1], [Answer("Hello", [4], [place])]))

    assert output.get("logprobs") == [[[{"token": "Hel", "logprob": -0.5}, {"token": "", "logprob": -2.0}]]]


def test_the_engine_is_told_the_shape_of_an_answer() -> None:
    class City(BaseModel):
        name: str

    json, regex = shape_of({"schema": City}), shape_of({"format": "regex", "schema": "[a-z]+"})
    assert json is not None
    assert regex is not None

    assert structure_of(json) == {"json": City.model_json_schema()}
    assert structure_of(regex) == {"regex": "[a-z]+"}


def test_the_engine_gets_what_the_fields_say_and_more() -> None:
    llm = vLLM(model="m", dtype="float16", tokenizer="t", extra_kwargs={"max_model_len": 512, "seed": 7})
    embeddings = vLLMEmbeddings(model="e", extra_kwargs={"max_model_len": 64})

    told, of_embeddings = llm._options(), embeddings._options()

    assert (told["model"], told["dtype"], told["tokenizer"], told["max_model_len"]) == ("m", "float16", "t", 512)
    assert told["seed"] == 7
    assert (of_embeddings["model"], of_embeddings["runner"], of_embeddings["max_model_len"]) == ("e", "pooling", 64)


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        (None, 1),
        ({}, 1),
        ({"tensor_parallel_size": 4}, 4),
        ({"tensor_parallel_size": 2, "pipeline_parallel_size": 3}, 6),
    ],
)
def test_it_takes_as_many_gpus_as_it_is_split_over(options: dict[str, Any] | None, gpus: int) -> None:
    assert gpus_wanted(options) == gpus


def test_processors_of_single_requests_are_refused_with_where_to_give_them() -> None:
    llm = vLLM(model="m")

    with pytest.raises(DistilmqUserError, match="give them to the engine"):
        llm.generate(["Hi"], logits_processors=[print])

    llm.unload()


def test_using_it_unloaded_is_an_error_that_says_so() -> None:
    llm = vLLM(model="m")

    with pytest.raises(DistilmqUserError, match=r"call `load\(\)` first"):
        llm.generate(["Hi"])
    llm.unload()
    with pytest.raises(DistilmqUserError, match=r"call `load\(\)` first"):
        vLLMEmbeddings(model="m").embed(["Hi"])


class Shaped(BaseModel):
    name: str


def test_a_dump_makes_the_same_model() -> None:
    llm = vLLM(
        model="m", use_magpie_template=True, magpie_pre_query_template="qwen2", structured_output={"schema": Shaped}
    )

    assert llm.dump()["structured_output"]["schema"] == Shaped.model_json_schema()
    assert LLM.from_dict(llm.dump()).dump() == llm.dump()
