"""What users' own models get from `LLM` and `AsyncLLM`."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import cloudpickle
import pytest
from pydantic import validate_call

from distilmq.errors import DistilmqNotImplementedError, DistilmqTypeError, DistilmqUserError, RequestsFailedError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models import LLM, AsyncLLM, LiteLLM, OpenAILLM
from distilmq.models.llms.async_llm import merged
from distilmq.models.llms.utils import prepare_output
from distilmq.testing import ScriptedLLM


class Echo(AsyncLLM):
    """As a user of distilabel writes one."""

    voice: RuntimeParameter[str] = "low"

    @property
    def model_name(self) -> str:
        return "echo"

    async def agenerate(self, input: Any, num_generations: int = 1, max_tokens: int = 9, loud: bool = False) -> Any:
        """Says it again.

        Args:
            input: what to say.
            num_generations: how often.
            max_tokens: how long.
            loud: how.
        """
        text = input[-1]["content"]
        if text == "bad":
            raise ValueError("I do not say that")
        text = (text.upper() if loud else text)[:max_tokens]
        return prepare_output([text] * num_generations, input_tokens=[1], output_tokens=[max_tokens])


class Plain(LLM):
    """One that takes all inputs at once."""

    @property
    def model_name(self) -> str:
        return "plain"

    def generate(self, inputs: list[Any], num_generations: int = 1) -> Any:
        return [prepare_output([input[-1]["content"]] * num_generations) for input in inputs]


class Style:
    """Of no type that pydantic knows."""


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def generations(llm: LLM, *texts: str, **kwargs: Any) -> list[list[str | None]]:
    llm.load()
    try:
        return [output["generations"] for output in llm.generate_outputs([chat(text) for text in texts], **kwargs)]
    finally:
        llm.unload()


def test_a_users_async_model_needs_agenerate_only() -> None:
    assert generations(Echo(), "a", "b", num_generations=2, loud=True) == [["A", "A"], ["B", "B"]]


def test_one_that_gives_bare_lists_works_too() -> None:
    class Old(Echo):
        async def agenerate(self, input: Any, num_generations: int = 1) -> Any:
            return [input[-1]["content"]] * num_generations

    assert generations(Old(), "a", num_generations=2) == [["a", "a"]]


@pytest.mark.parametrize(
    ("given", "what"), [("text", "a 'str'"), ({}, "a 'dict' without generations"), (None, "a 'NoneType'")]
)
def test_one_that_gives_something_else_is_told_what_to_give(given: Any, what: str) -> None:
    class Odd(Echo):
        async def agenerate(self, input: Any, num_generations: int = 1) -> Any:
            return given

    class OddAtOnce(Plain):
        def generate(self, inputs: list[Any], num_generations: int = 1) -> Any:
            return [given for _ in inputs]

    for model, method in ((Odd(), "agenerate"), (OddAtOnce(), "generate")):
        with pytest.raises(
            DistilmqTypeError, match=f"`{method}` of `{type(model).__name__}` has to give .* gave {what}"
        ):
            generations(model, "a")


def test_one_that_takes_all_at_once_and_gives_bare_lists_works_too() -> None:
    class Old(Plain):
        def generate(self, inputs: list[Any], num_generations: int = 1) -> Any:
            return [[input[-1]["content"]] * num_generations for input in inputs]

    assert generations(Old(), "a", "b", num_generations=2) == [["a", "a"], ["b", "b"]]


def test_one_that_gives_one_generation_is_asked_as_often_as_needed() -> None:
    class Single(Echo):
        _num_generations_param_supported = False

        async def agenerate(self, input: Any) -> Any:
            return prepare_output([input[-1]["content"]], input_tokens=[2], output_tokens=[3])

    llm = Single()
    llm.load()
    [output] = llm.generate_outputs([chat("a")], num_generations=3)
    llm.unload()

    assert output == {
        "generations": ["a", "a", "a"],
        "statistics": {"input_tokens": [2, 2, 2], "output_tokens": [3, 3, 3]},
    }


def test_what_it_raises_stays_with_its_input() -> None:
    with pytest.raises(RequestsFailedError) as caught:
        generations(Echo(), "a", "bad", "c")

    assert {place: str(error) for place, error in caught.value.failures.items()} == {1: "I do not say that"}


def test_the_only_input_raises_as_it_is() -> None:
    with pytest.raises(ValueError, match="I do not say that"):
        generations(Echo(), "bad")


def test_a_connection_that_breaks_is_tried_again() -> None:
    class Shaky(Echo):
        tries: int = 0

        async def agenerate(self, input: Any, num_generations: int = 1) -> Any:
            self.tries += 1
            if self.tries == 1:
                raise ConnectionResetError
            return prepare_output(["at last"])

    assert generations(Shaky(), "a") == [["at last"]]


def test_it_can_be_asked_within_a_running_event_loop() -> None:
    async def notebook() -> list[list[str | None]]:
        return generations(Echo(), "a")

    assert asyncio.run(notebook()) == [["a"]]


def test_unloading_ends_its_thread() -> None:
    before = threading.active_count()

    generations(Echo(), "a")

    assert threading.active_count() == before


def test_a_model_that_is_loaded_can_be_pickled() -> None:
    llm = Echo(voice="high")
    llm.load()
    llm.generate_outputs([chat("a")])

    copy = cloudpickle.loads(cloudpickle.dumps(llm))

    llm.unload()
    assert copy.voice == "high"
    assert generations(copy, "b") == [["b"]]


@pytest.mark.parametrize("name", ["max_new_tokens", "max_tokens"])
def test_max_new_tokens_is_another_name_for_the_models_own(name: str) -> None:
    assert generations(Echo(), "abcdef", **{name: 3}) == [["abc"]]


def test_both_names_at_once_are_an_error() -> None:
    with pytest.raises(DistilmqUserError, match="both `max_new_tokens` and `max_tokens`"):
        Echo(generation_kwargs={"max_new_tokens": 1, "max_tokens": 2}).load()


def test_an_unknown_generation_argument_is_named_with_those_that_there_are() -> None:
    with pytest.raises(DistilmqUserError, match=r"\['length'\].*It takes: \['max_tokens', 'loud'\]"):
        Echo(generation_kwargs={"length": 1}).load()


def test_a_generation_argument_of_the_wrong_type_is_told_before_any_row_fails_of_it() -> None:
    right = OpenAILLM(model="m", generation_kwargs={"temperature": 1, "stop": ["a"], "max_new_tokens": 5})
    wrong = OpenAILLM(model="m", generation_kwargs={"temperature": "hot"})

    right.check_generation_kwargs()
    with pytest.raises(DistilmqUserError, match="give `temperature` the value 'hot', which it does not take"):
        wrong.check_generation_kwargs()


def test_types_that_only_a_users_own_configuration_knows_are_left_to_the_call() -> None:
    class Own(Echo):
        @validate_call(config={"arbitrary_types_allowed": True})
        async def agenerate(self, input: Any, num_generations: int = 1, how: Style | None = None) -> Any:
            return [repr(how)] * num_generations

    Own(generation_kwargs={"how": Style()}).check_generation_kwargs()


def test_generation_arguments_are_described_by_the_docstring() -> None:
    infos = {info["name"]: info for info in Echo().get_runtime_parameters_info()}

    assert infos["generation_kwargs"]["keys"] == [
        {"name": "max_tokens", "optional": True, "description": "how long."},
        {"name": "loud", "optional": True, "description": "how."},
    ]


def test_parameters_of_a_run_reach_the_model() -> None:
    llm = Echo()

    llm.set_runtime_parameters({"generation_kwargs": {"loud": True}, "voice": "high"})

    assert (llm.get_generation_kwargs(), llm.voice) == ({"loud": True}, "high")


def test_a_model_without_batch_jobs_says_which_have_them() -> None:
    with pytest.raises(DistilmqNotImplementedError, match="`Echo`: its provider's batch jobs cannot be used"):
        Echo(use_offline_batch_generation=True).generate_outputs([chat("a")])


def test_outputs_for_one_input_are_put_together() -> None:
    one = {"generations": ["a"], "statistics": {"input_tokens": [1]}, "logprobs": [[1]]}
    other = {"generations": ["b"], "statistics": {"input_tokens": [2]}, "logprobs": [[2]]}

    assert merged(merged(None, one), other) == {
        "generations": ["a", "b"],
        "statistics": {"input_tokens": [1, 2]},
        "logprobs": [[1], [2]],
    }


def test_a_dump_builds_the_model_again() -> None:
    llm = ScriptedLLM(answers=["a", "b"], generation_kwargs={"temperature": 0.1})

    assert ScriptedLLM.from_dict(llm.dump()) == llm


def test_models_of_two_servers_or_two_keys_are_two_accounts() -> None:
    def account(**told: str) -> bytes | None:
        return LiteLLM(model="openai/m", generation_kwargs=dict(told)).account()

    accounts = [account(), account(api_base="http://a"), account(api_base="http://b"), account(api_key="k")]

    assert len(set(accounts)) == len(accounts)
    assert account(api_base="http://a", api_key="k") == account(api_key="k", api_base="http://a")
