"""Embedding models that are asked over a network: several texts to a request, several requests at once.

Each text's vector is kept by itself as it comes, so that a batch handed out again asks for what is missing only,
however its texts were put into requests before. A request that is refused as it stands is sent again in halves, until
the text that does it is alone.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

from pydantic import Field, PositiveInt

from distilmq.errors import (
    DrainedError,
    InvalidRequestError,
    RefusedError,
    RequestsFailedError,
    StepFatalError,
    TransientError,
)
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.mixins.signature import model_parts
from distilmq.models.embeddings.base import Embeddings, Vector
from distilmq.models.requests import sending
from distilmq.models.requests.answers import current_answers, decode_answer, encode_answer, request_key, row_of
from distilmq.models.requests.meter import Meter, current_meter
from distilmq.models.requests.rates import NOTHING, Cost
from distilmq.models.requests.sender import Sender

TEXTS_PER_REQUEST = 128
CHARACTERS_PER_REQUEST = 400_000
"""OpenAI takes 300,000 tokens in one request."""
CHARACTERS_PER_TOKEN = 4.0
"""Of English text, roughly; an answer's own count corrects it."""

_VECTOR = "embedding"
_OF_ITS_TEXTS = (InvalidRequestError, RefusedError)
"""Errors that a text causes, so that the others of its request do without it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The answer to one request."""

    vectors: Sequence[Vector]
    """In the order of the texts."""
    input_tokens: int | None
    """Of all of them together; None where the provider does not say."""


class AsyncEmbeddings(Sender, Embeddings, ABC):
    """An embedding model that is asked over a network.

    Attributes:
        texts_per_request: how many texts are sent together at most; fewer where they are long.
        max_retries: how often a request is tried again that was rate limited or met a passing fault.
        max_concurrency: how many requests are out at once at most; learnt when it is not given.
        requests_per_minute: of the account. Where it is not given, it is learnt from the provider.
        input_tokens_per_minute: of the account.
    """

    texts_per_request: RuntimeParameter[PositiveInt] = Field(
        default=TEXTS_PER_REQUEST, description="The maximum number of texts that are sent in one request."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"texts_per_request"})
    concurrent_batches: ClassVar[bool] = True

    @abstractmethod
    async def aencode(self, inputs: list[str]) -> Encoded:
        """The vectors of the texts of one request.

        Args:
            inputs: the texts.

        Raises:
            RequestError: the provider did not answer.
            StepFatalError: it refuses all requests.
        """
        ...

    def encode(self, inputs: list[str]) -> list[Vector]:
        """A vector for each text; those that the batch in hand has are not asked for again.

        Raises:
            RequestError: the only text's request failed.
            RequestsFailedError: requests of some texts failed; the others' vectors are kept.
            StepFatalError: the provider refuses all requests.
            DrainedError: the worker drains and some requests were not sent; the others' vectors are kept.
        """
        work = _Work(self, inputs)
        work.look_up()
        todo = deque(_requests_of(inputs, work.missing, self.texts_per_request or TEXTS_PER_REQUEST))
        while todo:
            halves = self._round(work, list(todo))
            todo = deque(halves)
        return work.result()

    def embed(self, inputs: list[str]) -> list[Vector]:
        """As `encode`, which counts each request as it is answered."""
        return self.encode(inputs)

    def unload(self) -> None:
        """Closes the event loop, after what `aclose` closes on it."""
        self._close_channel()
        super().unload()

    def key_of(self, text: str) -> bytes:
        """Digest of what decides on a text's vector."""
        model = {name: value for name, value in model_parts(self, "") if name.rpartition(".")[2] != "code"}
        return request_key({"model": model, "input": text})

    def _round(self, work: _Work, places: Sequence[Sequence[int]]) -> list[list[int]]:
        """Sends requests and keeps what comes; the halves of those that are to be sent again."""
        meter = current_meter.get()
        requests = {number: self._request(work, own, meter) for number, own in enumerate(places)}
        again: list[list[int]] = []
        ending: Exception | None = None
        for number, outcome, _ in sending.sent(requests, self._own_channel(), work.book):
            own = list(places[number])
            if isinstance(outcome, (StepFatalError, DrainedError)):
                # What is out is awaited, and kept, before the step ends.
                ending = outcome if ending is None or isinstance(outcome, StepFatalError) else ending
            elif not isinstance(outcome, Exception):
                work.take(own, cast("Sequence[Vector]", outcome["vectors"]))
            elif isinstance(outcome, _OF_ITS_TEXTS) and len(own) > 1:
                again += [own[: len(own) // 2], own[len(own) // 2 :]]
            else:
                work.fail(own, outcome)
        if ending is not None:
            raise ending
        return again

    def _request(self, work: _Work, places: Sequence[int], meter: Meter | None) -> sending.Request:
        texts = [work.inputs[place] for place in places]
        call = partial(_ask, self, texts, meter)
        return sending.Request(places[0], row_of(places[0], len(work.inputs)), b"", call, self._estimate(texts))

    def _estimate(self, texts: Iterable[str]) -> Cost:
        if self.input_tokens_per_minute is None:
            return NOTHING
        return Cost(sum(map(len, texts)) / CHARACTERS_PER_TOKEN, 0.0)


class _Work:
    """One call of `encode`: what is there, what is missing, what failed.

    Args:
        model: whose vectors they are.
        inputs: the texts.
    """

    def __init__(self, model: AsyncEmbeddings, inputs: Sequence[str]) -> None:
        self.inputs = inputs
        self.book = current_answers.get()
        self._keys = [model.key_of(text) for text in inputs] if self.book is not None else []
        self._vectors: list[Vector | None] = [None] * len(inputs)
        self._failures: dict[int, Exception] = {}

    @property
    def missing(self) -> list[int]:
        """Places of texts that have no vector yet."""
        return [place for place, vector in enumerate(self._vectors) if vector is None]

    def look_up(self) -> None:
        """Takes what the batch has."""
        for place, key in enumerate(self._keys):
            answer = self.book.find(row_of(place, len(self.inputs)), key) if self.book is not None else None
            known = decode_answer(answer.data, _VECTOR) if answer is not None else None
            if known is not None:
                self._vectors[place] = known[_VECTOR]

    def take(self, places: Sequence[int], vectors: Sequence[Vector]) -> None:
        """Vectors came."""
        for place, vector in zip(places, vectors, strict=True):
            self._vectors[place] = vector
            if self.book is not None and (answer := encode_answer({_VECTOR: vector})) is not None:
                self.book.keep(row_of(place, len(self.inputs)), self._keys[place], answer)

    def fail(self, places: Iterable[int], error: Exception) -> None:
        """No vectors will come for these."""
        self._failures.update(dict.fromkeys(places, error))

    def result(self) -> list[Vector]:
        """All vectors, or what failed."""
        if self._failures and len(self.inputs) == 1:
            raise self._failures[0]
        if self._failures:
            failures = dict(sorted(self._failures.items()))
            raise RequestsFailedError(failures, inputs=len(self.inputs)) from next(iter(failures.values()))
        return cast("list[Vector]", self._vectors)


async def _ask(model: AsyncEmbeddings, texts: list[str], meter: Meter | None) -> Mapping[str, Any]:
    began = time.perf_counter()
    answer = await model.aencode(texts)
    if meter is not None:
        # Here, not where it is kept: an answer that nobody waits for any more is paid for all the same.
        meter.count(model.usage_of(answer.input_tokens, time.perf_counter() - began))
    if len(answer.vectors) != len(texts):
        raise TransientError(f"'{model.model_name}' gave {len(answer.vectors)} vectors for {len(texts)} texts.")
    return {"vectors": answer.vectors, "statistics": {"input_tokens": [answer.input_tokens], "output_tokens": [0]}}


def _requests_of(inputs: Sequence[str], places: Iterable[int], most: int) -> list[list[int]]:
    """Places shared out to requests, in order: so many texts and so many characters at most, and one at least."""
    requests: list[list[int]] = []
    characters = 0
    for place in places:
        length = len(inputs[place])
        if not requests or len(requests[-1]) >= most or characters + length > CHARACTERS_PER_REQUEST:
            requests.append([])
            characters = 0
        requests[-1].append(place)
        characters += length
    return requests
