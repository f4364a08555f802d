"""Answers of a shape: what is asked again, how often, what it costs, and what a batch that comes again pays twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from distilmq.errors import (
    DistilmqUserError,
    DrainedError,
    InvalidAnswerError,
    InvalidRequestError,
    RequestsFailedError,
)
from distilmq.models import AnthropicLLM, ClientvLLM, OpenAILLM
from distilmq.models.requests.answers import current_answers
from distilmq.models.requests.meter import Meter, current_meter
from distilmq_workers.book import BatchAnswers
from tests.servers.providers import ProviderServer

ADA, BAD = '{"name": "Ada"}', '{"nom": "Ada"}'


class Person(BaseModel):
    name: str


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def once_bad(prompt: str) -> str:
    return ADA if "cannot be used" in prompt else BAD


@pytest.fixture
def server(provider_server: ProviderServer) -> ProviderServer:
    provider_server.says = once_bad
    return provider_server


Make = Callable[..., OpenAILLM]


@pytest.fixture
def make(server: ProviderServer) -> Iterator[Make]:
    """Makes loaded models."""
    made: list[OpenAILLM] = []

    def loaded(**fields: Any) -> OpenAILLM:
        made.append(OpenAILLM(**{"model": "gpt-4o", "structured_output": {"schema": Person}, **fields}))
        made[-1].load()
        return made[-1]

    yield loaded
    for llm in made:
        llm.unload()


@pytest.fixture
def llm(make: Make) -> OpenAILLM:
    return make()


# ---------------------------------------------------------------- what is given, and what is kept of it


def test_a_pydantic_model_is_its_schema_from_the_moment_it_is_given() -> None:
    by_class = OpenAILLM(model="m", structured_output={"schema": Person})
    by_schema = OpenAILLM(model="m", structured_output={"format": "json", "schema": Person.model_json_schema()})

    assert by_class.structured_output == {"format": "json", "schema": Person.model_json_schema()}
    assert by_class.dump() == by_schema.dump()
    assert by_class.signature == by_schema.signature


def test_so_is_one_that_is_set_later_or_when_the_pipeline_runs() -> None:
    llm = OpenAILLM(model="m")

    llm.structured_output = {"schema": Person}
    assert llm.structured_output == {"format": "json", "schema": Person.model_json_schema()}
    llm.set_runtime_parameters({"structured_output": {"schema": Person}})
    assert llm.structured_output == {"format": "json", "schema": Person.model_json_schema()}


def test_a_dump_makes_a_model_with_the_same_shape() -> None:
    llm = OpenAILLM(model="m", structured_output={"schema": Person})

    copy = OpenAILLM.from_dict(json.loads(json.dumps(llm.dump())))

    assert copy.structured_output == llm.structured_output


def test_how_often_is_asked_again_changes_nothing_of_what_is_recorded() -> None:
    shaped: dict[str, Any] = {"model": "m", "structured_output": {"schema": Person}}

    assert OpenAILLM(**shaped).signature == OpenAILLM(**shaped, max_validation_retries=7).signature


def test_what_is_no_shape_is_refused_where_it_is_given() -> None:
    with pytest.raises(ValidationError, match=r"names \['shema'\]"):
        OpenAILLM(model="m", structured_output={"shema": Person})


def test_a_regular_expression_is_refused_at_load_by_models_that_cannot_be_held_to_it(make: Make) -> None:
    with pytest.raises(DistilmqUserError, match=r"`OpenAILLM` \('gpt-4o'\) cannot be held to a regular expression"):
        make(structured_output={"format": "regex", "schema": "[a-z]+"})


def test_a_schema_that_is_none_is_refused_at_load(make: Make) -> None:
    with pytest.raises(DistilmqUserError, match="is no JSON schema"):
        make(structured_output={"schema": {"type": "strin"}})


def test_vllm_is_told_a_regular_expression_in_its_own_way(server: ProviderServer) -> None:
    server.says = lambda prompt: "ulm" if "cannot be used" in prompt else "Ulm!"
    llm = ClientvLLM(
        model="m",
        base_url=f"{server.url}/vllm/v1",
        structured_output={"format": "regex", "schema": "[a-z]+"},
        generation_kwargs={"extra_body": {"top_k": 5}},
    )
    llm.load()

    [output] = llm.generate_outputs([chat("Where?")], **llm.get_generation_kwargs())

    llm.unload()
    assert output["generations"] == ["ulm"]
    assert [asked.body["structured_outputs"] for asked in server.asked] == [{"regex": "[a-z]+"}] * 2
    assert server.asked[0].body["top_k"] == 5


# ---------------------------------------------------------------- asking again


def test_what_was_said_and_what_is_wrong_with_it_stand_in_the_conversation(
    llm: OpenAILLM, server: ProviderServer
) -> None:
    llm.generate_outputs([chat("Who?")])

    asked, said, words = server.asked[1].body["messages"]
    assert asked == chat("Who?")[0]
    assert said == {"role": "assistant", "content": BAD}
    assert words["role"] == "user"
    assert "`$`: 'name' is a required property" in words["content"]
    assert json.dumps(Person.model_json_schema()) in words["content"]


def test_an_empty_answer_has_a_turn_with_text(llm: OpenAILLM, server: ProviderServer) -> None:
    server.says = lambda prompt: ADA if "cannot be used" in prompt else " "

    [output] = llm.generate_outputs([chat("Who?")])

    assert output["generations"] == [ADA]
    assert server.asked[1].body["messages"][1]["content"] == "(no text)"


def test_bare_text_goes_on_as_text(llm: OpenAILLM, server: ProviderServer) -> None:
    [output] = llm.generate_outputs(["A person, as JSON: "])

    assert output["generations"] == [ADA]
    assert server.prompts[1].startswith(f"A person, as JSON: {BAD}\n\n")


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_the_bound_is_kept_to(make: Make, server: ProviderServer, retries: int) -> None:
    server.says = lambda prompt: BAD
    llm = make(max_validation_retries=retries)

    with pytest.raises(InvalidAnswerError, match="'name' is a required property") as caught:
        llm.generate_outputs([chat("Who?")])

    assert len(server.asked) == retries + 1
    assert (caught.value.answer, caught.value.attempts) == (BAD, retries + 1)


def test_a_shape_may_bring_a_bound_of_its_own(make: Make, server: ProviderServer) -> None:
    server.says = lambda prompt: BAD
    llm = make(structured_output={"schema": Person, "max_retries": 1})

    with pytest.raises(InvalidAnswerError):
        llm.generate_outputs([chat("Who?")])

    assert len(server.asked) == 2


def test_each_input_may_bring_a_shape_of_its_own_or_none_that_can_be_read(make: Make, server: ProviderServer) -> None:
    llm = make(structured_output=None)
    shapes: list[Any] = [{"schema": Person}, None, {"schema": {"type": "strin"}}, {"format": "regex", "schema": "a"}]

    with pytest.raises(RequestsFailedError) as caught:
        llm.generate_outputs([(chat(str(place)), shape) for place, shape in enumerate(shapes)])

    assert {place: type(error) for place, error in caught.value.failures.items()} == {
        2: DistilmqUserError,
        3: DistilmqUserError,
    }
    assert sorted(server.prompts)[:2] == ["0", "1"]
    assert len(server.asked) == 3, "nothing is asked in a shape that cannot be read"


def test_a_request_that_fails_when_it_is_asked_again_tells_what_was_answered_before(
    llm: OpenAILLM, server: ProviderServer
) -> None:
    server.fail("cannot be used", status=400, message="too long by now")

    with pytest.raises(InvalidRequestError, match="too long by now") as caught:
        llm.generate_outputs([chat("Who?")])

    assert caught.value.answer == BAD


def test_a_refusal_tells_what_was_said(server: ProviderServer) -> None:
    server.says = lambda prompt: None
    llm = OpenAILLM(model="m")
    llm.load()

    with pytest.raises(Exception, match="refuses this content") as caught:
        llm.generate_outputs([chat("Who?")])

    llm.unload()
    assert getattr(caught.value, "answer", None) == "I would rather not."


def test_of_several_answers_the_mended_one_keeps_its_place(llm: OpenAILLM, server: ProviderServer) -> None:
    said = iter(['{"name": "Ada"}', BAD, '{"name": "Eve"}', '{"name": "the mended one"}'])
    server.says = lambda prompt: next(said)

    [output] = llm.generate_outputs([chat("Who?")], num_generations=3, logprobs=True)

    assert [json.loads(text or "")["name"] for text in output["generations"]] == ["Ada", "the mended one", "Eve"]
    assert output["statistics"]["output_tokens"] == [2, 4, 2]
    assert [len(each) for each in output.get("logprobs", [])] == [2, 4, 2]


def test_of_several_answers_one_that_never_gets_its_shape_takes_none_along(make: Make, server: ProviderServer) -> None:
    said = iter([ADA, BAD, '{"name": "Eve"}', BAD])
    server.says = lambda prompt: next(said)
    llm = make(max_validation_retries=1)

    [output] = llm.generate_outputs([chat("Who?")], num_generations=3)

    assert output["generations"] == [ADA, None, '{"name": "Eve"}']
    assert len(output["statistics"]["output_tokens"]) == 3
    [before, error, behind] = output.get("errors", [])
    assert (before, behind) == (None, None)
    assert isinstance(error, InvalidAnswerError)
    assert (error.answer, error.attempts) == (BAD, 2)
    assert len(server.asked) == 2


def test_when_asking_again_fails_the_other_answers_are_kept(llm: OpenAILLM, server: ProviderServer) -> None:
    said = iter([ADA, BAD])
    server.says = lambda prompt: next(said)
    server.fail("cannot be used", status=400, message="too long by now")

    [output] = llm.generate_outputs([chat("Who?")], num_generations=2)

    assert output["generations"] == [ADA, None]
    assert [type(error) for error in output.get("errors", [])] == [type(None), InvalidRequestError]


def test_where_no_answer_gets_its_shape_the_input_fails(make: Make, server: ProviderServer) -> None:
    server.says = lambda prompt: BAD
    llm = make(max_validation_retries=0)

    with pytest.raises(InvalidAnswerError, match="is not asked again"):
        llm.generate_outputs([chat("Who?")], num_generations=2)


def test_where_each_answer_is_a_request_of_its_own_the_others_are_kept_as_well(
    provider_server: ProviderServer,
) -> None:
    said = iter([ADA, BAD, ADA])
    provider_server.says = lambda prompt: next(said)
    llm = AnthropicLLM(model="m", structured_output={"schema": Person}, max_validation_retries=0, max_concurrency=1)
    llm.load()

    [output] = llm.generate_outputs([chat("Who?")], num_generations=3)

    llm.unload()
    assert output["generations"] == [ADA, None, ADA]
    assert [type(error) for error in output.get("errors", [])] == [type(None), InvalidAnswerError, type(None)]
    assert len(output["statistics"]["output_tokens"]) == 3


# ---------------------------------------------------------------- what it costs, and what is kept


def test_every_request_is_counted(llm: OpenAILLM) -> None:
    meter = Meter()
    token = current_meter.set(meter)
    try:
        llm.generate_outputs([chat("Who?")])
    finally:
        current_meter.reset(token)

    [usage] = meter.totals()
    assert usage.requests == 2


class Journal:
    """What a worker would have recorded, and given to a batch that comes again."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes, int, bytes]] = []
        self.drains = False

    def answers(self) -> BatchAnswers:
        return BatchAnswers(
            list(self.entries),
            keep=lambda row, key, occurrence, answer: self.entries.append((row, key, occurrence, answer)),
            draining=lambda: self.drains,
        )


def in_batch(journal: Journal, llm: OpenAILLM, inputs: list[Any], **kwargs: Any) -> Any:
    token = current_answers.set(journal.answers().page(range(len(inputs))))
    try:
        return list(llm.generate_outputs(inputs, **kwargs))
    finally:
        current_answers.reset(token)


def test_a_batch_that_comes_again_pays_for_nothing_twice(llm: OpenAILLM, server: ProviderServer) -> None:
    journal = Journal()
    inputs = [chat("one"), chat("two")]
    first = in_batch(journal, llm, inputs)

    second = in_batch(journal, llm, inputs)

    assert first == second
    assert [output["generations"] for output in second] == [[ADA], [ADA]]
    assert len(server.asked) == 4
    assert len(journal.entries) == 4


def test_an_answer_without_the_shape_is_not_taken_for_one_when_a_batch_comes_again(
    llm: OpenAILLM, server: ProviderServer
) -> None:
    journal = Journal()
    in_batch(journal, llm, [chat("one")])
    del journal.entries[1:]  # the run was killed when only the first answer was recorded

    [output] = in_batch(journal, llm, [chat("one")])

    assert output["generations"] == [ADA]
    assert [prompt == "one" for prompt in server.prompts] == [True, False, False]


def test_a_row_that_failed_fails_again_without_being_asked(llm: OpenAILLM, server: ProviderServer) -> None:
    server.says = lambda prompt: BAD
    journal = Journal()
    for _ in range(2):
        with pytest.raises(InvalidAnswerError):
            in_batch(journal, llm, [chat("one")])

    assert len(server.asked) == 3


def test_equal_answers_of_several_are_mended_each_by_itself_and_found_again(make: Make, server: ProviderServer) -> None:
    mended = iter(["Ada", "Eve"])
    server.says = lambda prompt: json.dumps({"name": next(mended)}) if "cannot be used" in prompt else BAD
    llm = make()
    journal = Journal()

    [first] = in_batch(journal, llm, [chat("one")], num_generations=2)
    [second] = in_batch(journal, llm, [chat("one")], num_generations=2)

    assert sorted(first["generations"]) == sorted(second["generations"]) == ['{"name": "Ada"}', '{"name": "Eve"}']
    assert len(server.asked) == 3


def test_a_draining_worker_asks_nobody_again_and_keeps_what_was_answered(
    llm: OpenAILLM, server: ProviderServer
) -> None:
    journal = Journal()

    def answer_and_drain(prompt: str) -> str:
        journal.drains = True
        return BAD

    server.says = answer_and_drain
    with pytest.raises(DrainedError):
        in_batch(journal, llm, [chat("one")])
    assert len(server.asked) == 1

    journal.drains = False
    server.says = once_bad
    [output] = in_batch(journal, llm, [chat("one")])

    assert output["generations"] == [ADA]
    assert len(server.asked) == 2


def test_anthropic_is_asked_again_in_turns(server: ProviderServer) -> None:
    llm = AnthropicLLM(model="claude-haiku-4-5", structured_output={"schema": Person})
    llm.load()

    [output] = llm.generate_outputs([[{"role": "system", "content": "Be brief."}, *chat("Who?")]])

    llm.unload()
    assert output["generations"] == [ADA]
    assert server.asked[1].body["system"] == "Be brief."
    assert [turn["role"] for turn in server.asked[1].body["messages"]] == ["user", "assistant", "user"]
