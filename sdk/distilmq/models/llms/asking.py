"""How the inputs of one call of `generate` become requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from distilmq.models.llms.utils import as_output
from distilmq.models.requests.answers import current_answers, failed_requests, row_of
from distilmq.models.requests.meter import Meter, current_meter
from distilmq.models.requests.rates import Cost
from distilmq.models.requests.sending import Request, Then

if TYPE_CHECKING:
    from distilmq.models.llms.async_llm import AsyncLLM


@dataclass(frozen=True, slots=True)
class Asking:
    """What the requests of one call of `generate` share."""

    llm: AsyncLLM
    kwargs: Mapping[str, Any]
    """Arguments of `agenerate`, by the model's own names."""
    estimate: Callable[[Any], Cost]
    several: bool
    """Whether `agenerate` takes `num_generations`."""
    remembered: bool
    """Whether anything is found again by a request's key."""
    meter: Meter | None
    counted_when_kept: bool
    """An answer of a batch job may be read twice: it counts where it is kept, not where it comes."""
    inputs: int
    """How many there are."""

    @staticmethod
    def of(
        llm: AsyncLLM, kwargs: Mapping[str, Any], estimate: Callable[[Any], Cost], *, several: bool, inputs: int
    ) -> Asking:
        """For the batch in hand of the calling thread."""
        remembered = current_answers.get() is not None or failed_requests.get() is not None
        in_jobs = bool(llm.use_offline_batch_generation)
        return Asking(llm, kwargs, estimate, several, remembered, current_meter.get(), in_jobs, inputs)

    def requests(self, inputs: Sequence[Any], generations: int) -> list[Request]:
        """The requests for these inputs: one each, or one per generation."""
        per_request, times = (generations, 1) if self.several else (1, generations)
        keys = self._keys(inputs, per_request)
        return [
            self._request(place, input, keys[place], per_request)
            for place, input in enumerate(inputs)
            for _ in range(times)
        ]

    def again(self, place: int, input: Any, generation: int, then: Then) -> Request:
        """A further request for the input at a place: for one generation, in the place of one that is of no use."""
        [key] = self._keys([input], 1)
        return replace(self._request(place, input, key, 1, then), replaces=generation, anew=None)

    def _keys(self, inputs: Sequence[Any], generations: int) -> list[bytes]:
        return self.llm.keys_of(inputs, generations, self.kwargs) if self.remembered else [b""] * len(inputs)

    def _request(self, place: int, input: Any, key: bytes, generations: int, then: Then | None = None) -> Request:
        asked = {**self.kwargs, "num_generations": generations} if self.several else self.kwargs
        call = partial(_ask, self.llm, input, asked, None if self.counted_when_kept else self.meter)
        taken = self._count if self.counted_when_kept else None
        anew = partial(self.again, place, input)
        return Request(place, row_of(place, self.inputs), key, call, self.estimate(input), then, taken, anew)

    def _count(self, output: Mapping[str, Any]) -> None:
        if self.meter is not None:
            self.meter.count(self.llm.usage_of(output, 0.0))


async def _ask(llm: AsyncLLM, input: Any, kwargs: Mapping[str, Any], meter: Meter | None) -> Mapping[str, Any]:
    began = time.perf_counter()
    output = as_output(await llm.agenerate(input, **kwargs), f"`agenerate` of `{type(llm).__name__}`")
    if meter is not None:
        # Here, not where it is kept: an answer that nobody waits for any more is paid for all the same.
        meter.count(llm.usage_of(output, time.perf_counter() - began))
    return output
