"""`MixtureOfAgentsLLM` over HTTP: who is asked what, and what becomes of failures."""

from __future__ import annotations

import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from distilmq.errors import DistilmqUserError, InvalidRequestError, RequestsFailedError, StepFatalError
from distilmq.mixins.secrets import secret_values
from distilmq.models import LLM, AnthropicLLM, MixtureOfAgentsLLM, OpenAILLM
from distilmq.models.llms.moa import TOGETHER, with_proposals
from distilmq.models.requests.answers import KnownAnswer, current_answers
from distilmq.models.requests.meter import Meter, current_meter
from distilmq.models.requests.sources import Generation
from distilmq.steps.tasks import TextGeneration
from distilmq.steps.tasks.base import IN_BATCH_JOBS
from distilmq.testing import ScriptedLLM
from tests.servers.providers import ProviderServer


def made(**fields: Any) -> MixtureOfAgentsLLM:
    return MixtureOfAgentsLLM(
        **{
            "aggregator_llm": OpenAILLM(model="judge"),
            "proposers_llms": [OpenAILLM(model="one"), AnthropicLLM(model="two")],
            **fields,
        }
    )


@pytest.fixture
def llm(provider_server: ProviderServer) -> Iterator[MixtureOfAgentsLLM]:
    model = made()
    model.load()
    yield model
    model.unload()


def chat(text: str, system: str | None = None) -> list[dict[str, str]]:
    before = [{"role": "system", "content": system}] if system is not None else []
    return [*before, {"role": "user", "content": text}]


def system_of(asked: Any) -> str | None:
    """The system message of a request, in either provider's form."""
    if "system" in asked.body:
        told = asked.body["system"]
        return told if isinstance(told, str) else "".join(part["text"] for part in told)
    return next((each["content"] for each in asked.body["messages"] if each["role"] == "system"), None)


class Book:
    """The answers of one batch, as a worker keeps them."""

    def __init__(self) -> None:
        self._kept: defaultdict[tuple[int, bytes], list[bytes]] = defaultdict(list)
        self._found: Counter[tuple[int, bytes]] = Counter()

    def draining(self) -> bool:
        return False

    def find(self, row: int, key: bytes) -> KnownAnswer | None:
        place = self._found[row, key]
        if place >= len(self._kept[row, key]):
            return None
        self._found[row, key] += 1
        return KnownAnswer(self._kept[row, key][place], place)

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        self._kept[row, key].append(answer)
        self._found[row, key] = len(self._kept[row, key])
        return len(self._kept[row, key]) - 1

    def gave(self, row: int, generations: Sequence[Generation]) -> None:
        """Nobody asks."""

    def spoil(self, row: int, generation: int) -> None:
        """Nobody asks."""

    def ask(self, llm: LLM, *inputs: Any) -> list[Any]:
        """One call of `process`."""
        self._found.clear()
        token = current_answers.set(self)
        try:
            return list(llm.generate_outputs(list(inputs)))
        finally:
            current_answers.reset(token)


def test_one_answer_is_made_of_all_that_were_proposed(llm: MixtureOfAgentsLLM, provider_server: ProviderServer) -> None:
    provider_server.says = lambda prompt: f"about {prompt}"

    [output] = llm.generate_outputs([chat("cats", system="Be brief.")])

    assert output["generations"] == ["about cats"]
    asked = {each.model: each for each in provider_server.asked}
    assert [each.model for each in provider_server.asked][-1] == "judge"
    assert (system_of(asked["one"]), system_of(asked["two"])) == ("Be brief.", "Be brief.")
    assert system_of(asked["judge"]) == f"{TOGETHER}\n\nAnswer 1:\nabout cats\n\nAnswer 2:\nabout cats\n\nBe brief."
    assert asked["judge"].prompt == "cats"


def test_from_the_second_round_on_proposers_see_what_was_proposed(provider_server: ProviderServer) -> None:
    llm = made(rounds=2)
    llm.load()

    llm.generate_outputs([chat("cats")])

    llm.unload()
    rounds = [each for each in provider_server.asked if each.model == "one"]
    assert Counter(each.model for each in provider_server.asked) == {"one": 2, "two": 2, "judge": 1}
    assert system_of(rounds[0]) is None
    assert "Answer 2:\nYou said: cats" in (system_of(rounds[1]) or "")


def test_proposers_are_asked_at_the_same_time(llm: MixtureOfAgentsLLM, provider_server: ProviderServer) -> None:
    provider_server.latency = 0.1

    llm.generate_outputs([chat("one"), chat("two")])

    assert provider_server.most_at_once == 4


def test_several_answers_are_the_aggregators(llm: MixtureOfAgentsLLM, provider_server: ProviderServer) -> None:
    [output] = llm.generate_outputs([chat("cats")], num_generations=3)

    assert len(output["generations"]) == 3
    assert Counter(each.model for each in provider_server.asked) == {"one": 1, "two": 1, "judge": 1}


def test_what_is_asked_is_left_as_it_was() -> None:
    asked = chat("cats", system="Be brief.")

    with_proposals(asked, ["Miaow"])

    assert asked == chat("cats", system="Be brief.")


def test_the_shape_of_an_answer_is_the_aggregators(llm: MixtureOfAgentsLLM, provider_server: ProviderServer) -> None:
    provider_server.says = lambda prompt: '{"name": "Paris"}'
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    schema["additionalProperties"] = False

    llm.generate_outputs([(chat("A city?"), {"format": "json", "schema": schema})])

    shaped = {each.model for each in provider_server.asked if "response_format" in each.body}
    assert shaped == {"judge"}


def test_each_model_gets_its_own_arguments(provider_server: ProviderServer) -> None:
    llm = made(
        aggregator_llm=OpenAILLM(model="judge", generation_kwargs={"temperature": 0.1}),
        proposers_llms=[
            OpenAILLM(model="one", generation_kwargs={"temperature": 0.7}),
            OpenAILLM(model="two", generation_kwargs={"max_new_tokens": 9}),
        ],
    )
    llm.load()

    llm.generate_outputs([chat("cats")], **llm.get_generation_kwargs())

    llm.unload()
    bodies = {each.model: each.body for each in provider_server.asked}
    assert (bodies["judge"]["temperature"], bodies["one"]["temperature"], bodies["two"]["max_tokens"]) == (0.1, 0.7, 9)


def test_arguments_of_its_own_are_refused_with_where_to_give_them() -> None:
    with pytest.raises(DistilmqUserError, match="Give them to its `aggregator_llm`"):
        made(generation_kwargs={"temperature": 0.1}).check_generation_kwargs()
    with pytest.raises(DistilmqUserError, match=r"name \['wings'\]"):
        made(aggregator_llm=OpenAILLM(model="judge", generation_kwargs={"wings": 2})).check_generation_kwargs()


def test_each_request_is_counted_as_its_models(llm: MixtureOfAgentsLLM) -> None:
    meter = Meter()
    token = current_meter.set(meter)

    llm.generate_outputs([chat("cats"), chat("dogs")])

    current_meter.reset(token)
    assert {usage.model: usage.requests for usage in meter.totals()} == {"judge": 2, "one": 2, "two": 2}


# ---------------------------------------------------------------- what fails


def test_a_row_on_which_a_model_fails_fails_alone_and_the_rest_is_not_paid_for_again(
    llm: MixtureOfAgentsLLM, provider_server: ProviderServer
) -> None:
    provider_server.fail("bad", status=400, model="two")
    book = Book()

    with pytest.raises(RequestsFailedError) as caught:
        book.ask(llm, chat("one"), chat("bad"), chat("three"))
    first = len(provider_server.asked)
    outputs = book.ask(llm, chat("one"), chat("good"), chat("three"))

    assert list(caught.value.failures) == [1]
    assert isinstance(caught.value.failures[1], InvalidRequestError)
    assert [output["generations"] for output in outputs] == [
        ["You said: one"],
        ["You said: good"],
        ["You said: three"],
    ]
    again = Counter((each.model, each.prompt) for each in provider_server.asked[first:])
    assert again == {
        ("one", "good"): 1,
        ("two", "good"): 1,
        **{("judge", text): 1 for text in ("one", "good", "three")},
    }


def test_the_only_rows_error_is_raised_as_it_is(llm: MixtureOfAgentsLLM, provider_server: ProviderServer) -> None:
    provider_server.fail("bad", status=400, model="one")

    with pytest.raises(InvalidRequestError):
        llm.generate_outputs([chat("bad")])


def test_a_proposer_that_says_nothing_fails_its_row() -> None:
    silent = ScriptedLLM(model="silent", answers=lambda text: None if text == "bad" else text)
    llm = made(aggregator_llm=ScriptedLLM(), proposers_llms=[ScriptedLLM(), silent])
    llm.load()

    with pytest.raises(RequestsFailedError, match="'silent' gave no answer") as caught:
        llm.generate_outputs([chat("one"), chat("bad")])

    llm.unload()
    assert list(caught.value.failures) == [1]


def test_what_no_request_survives_ends_the_step(llm: MixtureOfAgentsLLM, provider_server: ProviderServer) -> None:
    provider_server.fail("", status=401, message="Incorrect API key", model="two")
    provider_server.fail("", status=400, model="one")

    with pytest.raises(StepFatalError, match="Incorrect API key"):
        llm.generate_outputs([chat("one"), chat("two")])


def test_two_proposers_that_are_the_same_model_are_both_asked_once(provider_server: ProviderServer) -> None:
    llm = made(proposers_llms=[OpenAILLM(model="one"), OpenAILLM(model="one")])
    llm.load()
    book = Book()

    book.ask(llm, chat("cats"))
    book.ask(llm, chat("cats"))

    llm.unload()
    assert Counter(each.model for each in provider_server.asked) == {"one": 2, "judge": 1}


# ---------------------------------------------------------------- what it is made of


def test_it_is_at_several_batches_at_once_where_all_its_models_are() -> None:
    class AtOnce(ScriptedLLM):
        concurrent_batches = False

    assert TextGeneration(name="many", llm=made()).takes_batches_at_once
    assert not TextGeneration(name="one", llm=made(aggregator_llm=AtOnce())).takes_batches_at_once


def test_its_parameters_are_those_of_its_models() -> None:
    llm = made()

    llm.set_runtime_parameters({"aggregator_llm": {"timeout": 7}, "proposers_llms": {"1": {"timeout": 9}}})

    assert "generation_kwargs" not in llm.runtime_parameters_names
    assert [model.timeout for model in (llm.aggregator_llm, *llm.proposers_llms)] == [7, 120, 9]


def test_without_proposers_it_says_so() -> None:
    with pytest.raises(ValidationError, match="proposers_llms"):
        made(proposers_llms=[])


def test_it_travels_with_the_secrets_of_its_models(provider_server: ProviderServer) -> None:
    llm = made(proposers_llms=[OpenAILLM(model="one", api_key="a secret")])

    assert secret_values(llm)["proposers_llms.0.api_key"] == "a secret"
    assert b"a secret" not in pickle.dumps(llm)


def test_one_saved_by_distilabel_loads() -> None:
    module = "distilabel.models.llms.openai"
    saved = {
        "aggregator_llm": {"model": "judge", "type_info": {"module": module, "name": "OpenAILLM"}},
        "proposers_llms": [{"model": "one", "type_info": {"module": module, "name": "OpenAILLM"}}],
        "rounds": 2,
        "type_info": {"module": "distilabel.models.llms.moa", "name": "MixtureOfAgentsLLM"},
    }

    llm = LLM.from_dict(saved)

    assert isinstance(llm, MixtureOfAgentsLLM)
    assert (llm.model_name, llm.rounds) == ("moa-judge-one", 2)
    assert LLM.from_dict(llm.dump()).dump() == llm.dump()


@pytest.mark.parametrize("in_jobs", [False, True])
def test_many_batches_are_in_hand_where_one_of_its_models_is_asked_through_jobs(in_jobs: bool) -> None:
    llm = made(proposers_llms=[OpenAILLM(model="two", use_offline_batch_generation=in_jobs)])

    assert llm.waits_for_jobs is in_jobs
    assert (TextGeneration(llm=llm).most_batches_at_once == IN_BATCH_JOBS) is in_jobs
