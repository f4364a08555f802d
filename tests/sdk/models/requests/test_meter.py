"""Every answered request is counted once, whatever asks and whatever becomes of the answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from distilmq.errors import RequestsFailedError
from distilmq.models import LLM, AsyncLLM
from distilmq.models.llms.utils import prepare_output
from distilmq.models.requests.meter import Meter, Tokens, current_meter, tokens_in
from distilmq.protocol.usage import Usage
from distilmq.testing import ScriptedLLM

PRICES = {"input": 1.0, "output": 10.0}


class Engine(LLM):
    """Answers whole lists; says nothing of tokens when it is told so."""

    silent: bool = False

    @property
    def model_name(self) -> str:
        return "engine"

    def generate(self, inputs: list[Any], num_generations: int = 1, **kwargs: Any) -> Any:
        tokens = (None, None) if self.silent else ([7], [2] * num_generations)
        return [prepare_output(["yes"] * num_generations, *tokens) for _ in inputs]


class OneByOne(ScriptedLLM):
    """Gives one answer per request."""

    _num_generations_param_supported = False


@pytest.fixture
def meter() -> Iterator[Meter]:
    meter = Meter()
    token = current_meter.set(meter)
    yield meter
    current_meter.reset(token)


def ask(llm: LLM, *texts: str, num_generations: int = 1) -> None:
    llm.load()
    try:
        llm.generate_outputs([[{"role": "user", "content": text}] for text in texts], num_generations=num_generations)
    finally:
        llm.unload()


def counted(meter: Meter) -> dict[str, tuple[int, int, int, float, int]]:
    return {
        usage.model: (usage.requests, usage.input_tokens, usage.output_tokens, usage.cost, usage.unpriced)
        for usage in meter.totals()
    }


def test_requests_are_counted_with_their_tokens_and_cost(meter: Meter) -> None:
    ask(ScriptedLLM(prices=PRICES), "one two", "three")

    assert counted(meter) == {"scripted": (2, 3, 3, pytest.approx(33e-6), 0)}


def test_several_answers_of_one_request_send_the_prompt_once(meter: Meter) -> None:
    ask(ScriptedLLM(), "one two", num_generations=3)

    assert counted(meter) == {"scripted": (1, 2, 6, 0.0, 1)}


def test_a_model_that_is_asked_for_each_answer_is_counted_as_often(meter: Meter) -> None:
    ask(OneByOne(), "one two", num_generations=3)

    assert counted(meter) == {"scripted": (3, 6, 6, 0.0, 3)}


def test_engines_that_answer_whole_lists_are_counted(meter: Meter) -> None:
    ask(Engine(prices=PRICES), "a", "b", num_generations=2)

    assert counted(meter) == {"engine": (2, 14, 8, pytest.approx(94e-6), 0)}


def test_without_tokens_nobody_knows_the_price(meter: Meter) -> None:
    ask(Engine(prices=PRICES, silent=True), "a")
    ask(Engine(prices={"input": 0, "output": 0}, silent=True), "b")

    assert counted(meter) == {"engine": (2, 0, 0, 0.0, 1)}, "where all is free, nothing need be known"
    assert [(usage.input_untold, usage.output_untold) for usage in meter.totals()] == [(2, 2)]


def test_a_request_that_failed_is_not_counted_and_its_neighbours_are(meter: Meter) -> None:
    with pytest.raises(RequestsFailedError):
        ask(ScriptedLLM(fail_on=["bad"]), "good", "bad", "fine")

    assert counted(meter) == {"scripted": (2, 2, 2, 0.0, 2)}


def test_outside_of_a_worker_nothing_is_counted() -> None:
    ask(ScriptedLLM(), "good")

    assert current_meter.get() is None


def test_no_request_is_lost_between_threads() -> None:
    meter = Meter()
    one = Usage(model="m", requests=1, input_tokens=3)
    threads = [threading.Thread(target=lambda: [meter.count(one) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert meter.totals() == (Usage(model="m", requests=2000, input_tokens=6000),)


@pytest.mark.parametrize(
    ("statistics", "tokens"),
    [
        ({"input_tokens": [5], "output_tokens": [1, 2]}, (5, 3)),
        ({"input_tokens": [5, 5], "output_tokens": [1, 2]}, (5, 3)),
        ({"input_tokens": [5, 9], "output_tokens": [1, 2]}, (14, 3)),
        ({"input_tokens": 5, "output_tokens": 2}, (5, 2)),
        ({"input_tokens": [None], "output_tokens": ["?"]}, (None, None)),
        ({"input_tokens": [5, None], "output_tokens": [1, None]}, (5, None)),
        ({"input_tokens": [0], "output_tokens": [0]}, (None, 0)),
        ({"input_tokens": [], "output_tokens": []}, (None, None)),
        (None, (None, None)),
    ],
)
def test_tokens_are_read_from_statistics_of_any_shape(
    statistics: Mapping[str, Any], tokens: tuple[int | None, int | None]
) -> None:
    assert tokens_in({"generations": ["x"], "statistics": statistics}) == Tokens(*tokens)


def test_answers_take_their_time(meter: Meter) -> None:
    ask(ScriptedLLM(), "one")

    [usage] = meter.totals()
    assert isinstance(ScriptedLLM(), AsyncLLM)
    assert usage.seconds > 0
