"""Embedding models: what gives a vector for each text."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, PrivateAttr

from distilmq.mixins.process_bound import without_process_bound
from distilmq.mixins.runtime_parameters import RuntimeParameter, RuntimeParametersMixin
from distilmq.mixins.serialization import Serializable
from distilmq.mixins.signature import Signed
from distilmq.models.requests.meter import current_meter
from distilmq.models.requests.prices import Listed, Prices, listed_cost, own_cost
from distilmq.protocol.usage import Usage

Vector = list[float] | list[int]
"""Of one text; whole numbers where a model gives its vectors quantized."""


class Embeddings(RuntimeParametersMixin, Serializable, Signed, ABC):
    """A model that gives a vector for each text.

    Attributes:
        prices: US dollars per million tokens, as `{"input": 0.02, "output": 0}`; by the provider's list when they are
            not given. They count what a run costs and change nothing else.

    Examples:
        ```python
        from distilmq.models import Embeddings


        class Lengths(Embeddings):
            @property
            def model_name(self) -> str:
                return "lengths"

            def encode(self, inputs: list[str]) -> list[list[float]]:
                return [[float(len(text))] for text in inputs]


        embeddings = Lengths()
        embeddings.load()
        assert embeddings.embed(["one", "three"]) == [[3.0], [5.0]]
        embeddings.unload()
        ```
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        validate_default=True,
        validate_assignment=True,
        extra="forbid",
    )

    prices: RuntimeParameter[Prices] | None = Field(
        default=None,
        description='US dollars per million tokens, as `{"input": 0.02, "output": 0}`; else those that the provider'
        " lists.",
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"prices"})
    runs_here: ClassVar[bool] = False
    """The model runs in the process that asks it: its tokens cost nothing."""
    process_bound: ClassVar[frozenset[str]] = frozenset()
    """Private attributes that belong to this process (clients, engines): pickling leaves them out."""
    concurrent_batches: ClassVar[bool] = False
    """Whether it may be asked from several threads at once, one for each batch in hand."""

    _logger: logging.Logger = PrivateAttr(default_factory=lambda: logging.getLogger("distilmq.embeddings"))

    def load(self) -> None:
        """Gets ready in the process that asks; an override calls `super().load()`."""
        self._logger = logging.getLogger(f"distilmq.embeddings.{self.model_name}")
        self.cost_of(0)  # reads the list of prices, so that no answer has to wait for it

    def unload(self) -> None:
        """Gives back what `load` took."""

    @property
    @abstractmethod
    def model_name(self) -> str:
        """The model's name, as rows carry it."""
        ...

    @abstractmethod
    def encode(self, inputs: list[str]) -> Sequence[Vector]:
        """A vector for each text.

        Args:
            inputs: the texts.
        """
        ...

    def embed(self, inputs: list[str]) -> list[Vector]:
        """A vector for each text, counted: what steps call.

        Raises:
            ValueError: the model gave another number of vectors.
        """
        began = time.perf_counter()
        vectors = list(self.encode(inputs))
        if len(vectors) != len(inputs):
            raise ValueError(f"'{self.model_name}' gave {len(vectors)} vectors for {len(inputs)} texts.")
        if (meter := current_meter.get()) is not None:
            meter.count(self.usage_of(None, time.perf_counter() - began))
        return vectors

    def cost_of(self, input_tokens: int) -> float | None:
        """US dollars of one request with these tokens; None when the model has no price that is known."""
        if self.prices is not None:
            return own_cost(self.prices, input_tokens, 0)
        if self.runs_here:
            return 0.0
        url = getattr(self, "base_url", None)
        return listed_cost(Listed(self.model_name, str(url) if url else None), input_tokens, 0)

    def usage_of(self, input_tokens: int | None, seconds: float) -> Usage:
        """What one answered request took; without tokens its price is not known.

        Args:
            input_tokens: of all its texts; None where nobody says it.
            seconds: that the answer took.
        """
        cost = self.cost_of(input_tokens or 0)
        if not input_tokens and self.cost_of(1):
            cost = None  # no text is empty: the server does not tell
        return Usage(
            model=self.model_name,
            requests=1,
            input_tokens=input_tokens or 0,
            input_untold=int(not input_tokens),
            cost=cost or 0.0,
            unpriced=int(cost is None),
            seconds=seconds,
        )

    def __getstate__(self) -> dict[Any, Any]:
        """What pickling keeps: nothing that belongs to this process."""
        return without_process_bound(type(self), super().__getstate__())
