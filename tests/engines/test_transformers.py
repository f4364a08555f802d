"""`TransformersLLM` with a real engine: a tiny model of random weights."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distilmq.errors import DistilmqUserError, RequestsFailedError, TooLongError
from distilmq.models import TransformersLLM
from distilmq.models.requests.meter import Meter, current_meter

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def llm(language_model: Path) -> Iterator[TransformersLLM]:
    model = TransformersLLM(model=str(language_model), device="cpu")
    model.load()
    yield model
    model.unload()


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def likeliest(llm: TransformersLLM, *inputs: Any, **kwargs: Any) -> list[Any]:
    return list(llm.generate_outputs(list(inputs), do_sample=False, **{"max_new_tokens": 6, **kwargs}))


def test_tokens_are_those_of_prompt_and_answer(llm: TransformersLLM) -> None:
    [chatted, text] = likeliest(llm, chat("Hi"), "Hi")

    assert chatted["statistics"]["input_tokens"] == [len("[user]Hi[assistant]") + 1]  # and the one that begins it
    assert text["statistics"]["input_tokens"] == [2]
    assert 1 <= text["statistics"]["output_tokens"][0] <= 6
    assert isinstance(text["generations"][0], str)


def test_an_answer_does_not_depend_on_what_it_is_asked_together_with(llm: TransformersLLM) -> None:
    alone = likeliest(llm, chat("Hi"))

    together = likeliest(llm, chat("Hi"), chat("A question that is a good deal longer"), "Hm")

    assert together[0] == alone[0]


def test_several_answers_are_sampled(llm: TransformersLLM) -> None:
    [output, other] = llm.generate_outputs([chat("a"), chat("b")], num_generations=3, temperature=1.0, max_new_tokens=8)

    assert len(set(output["generations"])) == 3
    assert len(output["statistics"]["output_tokens"]) == len(other["generations"]) == 3


def test_several_answers_without_sampling_are_refused(llm: TransformersLLM) -> None:
    with pytest.raises(DistilmqUserError, match="needs `do_sample=True`"):
        llm.generate_outputs([chat("a")], num_generations=2, temperature=0.0)


def test_an_answer_ends_with_its_end_and_nothing_behind_it_is_counted(language_model: Path, tmp_path: Path) -> None:
    ending = shutil.copytree(language_model, tmp_path / "ending")
    path = ending / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": list(range(3, 259))}))
    llm = TransformersLLM(model=str(ending), device="cpu")
    llm.load()

    [output] = likeliest(llm, "Hi")

    llm.unload()
    assert output["statistics"]["output_tokens"] == [1]


def test_a_prompt_that_is_too_long_fails_alone(llm: TransformersLLM) -> None:
    with pytest.raises(RequestsFailedError, match="takes 256 tokens, and this prompt has 300") as caught:
        likeliest(llm, "a" * 300, "b")
    with pytest.raises(TooLongError):
        likeliest(llm, "a" * 300)

    assert list(caught.value.failures) == [0]


def test_a_shape_is_refused_with_what_to_use_instead(llm: TransformersLLM, language_model: Path) -> None:
    shape = {"format": "json", "schema": {"type": "object"}}

    with pytest.raises(DistilmqUserError, match="Use `LlamaCppLLM`"):
        likeliest(llm, (chat("Hi"), shape))
    with pytest.raises(DistilmqUserError, match="Use `LlamaCppLLM`"):
        TransformersLLM(model=str(language_model), structured_output=shape).load()


def test_the_models_chat_template_is_used_or_the_one_given(llm: TransformersLLM, language_model: Path) -> None:
    other = TransformersLLM(model=str(language_model), device="cpu", chat_template="{{ messages[0].content }}!")
    other.load()

    assert llm.prepare_input(chat("Hi")) == "<s>[user]Hi[assistant]"
    assert other.prepare_input(chat("Hi")) == "Hi!"

    other.unload()


def test_a_model_without_a_template_goes_on_with_the_text(language_model: Path, tmp_path: Path) -> None:
    base = shutil.copytree(language_model, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    llm = TransformersLLM(model=str(base), device="cpu")
    llm.load()

    text = llm.prepare_input([{"role": "system", "content": "Facts."}, *chat("Paris is")])

    llm.unload()
    assert text == "Facts.\n\nParis is"


def test_the_model_writes_the_users_turn(language_model: Path) -> None:
    llm = TransformersLLM(
        model=str(language_model), device="cpu", use_magpie_template=True, magpie_pre_query_template="<s>[user]"
    )
    llm.load()

    texts = [llm.prepare_input(each) for each in ([], [{"role": "system", "content": "Short."}], chat("Hi"))]

    llm.unload()
    assert texts == ["<s>[user]", "<s>[system]Short.[user]", "<s>[user]Hi[assistant]"]


def test_hidden_states_have_a_vector_for_each_token(llm: TransformersLLM) -> None:
    [short, long] = llm.get_last_hidden_states(["ab", "abcd"])
    [alone] = llm.get_last_hidden_states(["ab"])

    assert (short.shape, long.shape) == ((2, 128), (4, 128))
    assert short == pytest.approx(alone, abs=1e-4)


def test_its_tokens_are_counted_and_cost_nothing(llm: TransformersLLM) -> None:
    meter = Meter()
    token = current_meter.set(meter)

    likeliest(llm, "Hi", "Hello")

    current_meter.reset(token)
    [usage] = meter.totals()
    assert (usage.requests, usage.input_tokens, usage.known_cost) == (2, 7, 0.0)


def test_a_loaded_model_travels_without_its_weights(llm: TransformersLLM) -> None:
    pickled = pickle.dumps(llm)

    assert len(pickled) < 10_000
    assert pickle.loads(pickled).dump() == llm.dump()


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match="cannot be loaded by transformers"):
        TransformersLLM(model=str(tmp_path)).load()


def test_an_argument_that_it_does_not_take_is_named(language_model: Path) -> None:
    with pytest.raises(DistilmqUserError, match=r"name \['max_length'\]"):
        TransformersLLM(model=str(language_model), generation_kwargs={"max_length": 3}).load()
