"""Models whose answers may have to have a shape: those that do not have it are asked for again."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from pydantic import Field, field_validator

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.asking import Asking
from distilmq.models.llms.async_llm import AsyncLLM
from distilmq.models.llms.repair import Repair
from distilmq.models.llms.shapes import Shape, plain_shape, shape_of
from distilmq.models.llms.utils import split_input
from distilmq.models.requests.generations import Outcome
from distilmq.models.requests.sending import Request

VALIDATION_RETRIES = 2


class StructuredLLM(AsyncLLM, ABC):
    """A model that can be asked for answers of a shape, and is asked again for one that does not have it.

    Attributes:
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema; some
            models take `{"format": "regex", "schema": …}` as well. `max_retries` in it wins over
            `max_validation_retries`.
        max_validation_retries: how often an answer without the shape is asked for again; then its row fails.
    """

    structured_output: RuntimeParameter[dict[str, Any]] | None = Field(
        default=None, description="The shape of the answers."
    )
    max_validation_retries: RuntimeParameter[int] = Field(
        default=VALIDATION_RETRIES,
        ge=0,
        description="The number of times that an answer without the shape of `structured_output` is asked for again.",
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"max_validation_retries"})
    takes_regex: ClassVar[bool] = False
    """Whether its answers can be held to a regular expression."""

    @field_validator("structured_output", mode="before")
    @classmethod
    def _plain_shape(cls, shape: Any) -> Any:
        """A pydantic model becomes its schema at once, so that dumps, plans and signatures hold JSON."""
        return plain_shape(shape) if isinstance(shape, dict) else shape

    def load(self) -> None:
        """Gets ready in the process that asks.

        Raises:
            DistilmqUserError: the model cannot answer in the shape, or the shape cannot be read.
        """
        super().load()
        if (shape := shape_of(self.structured_output)) is not None:
            self._check_shape(shape)

    def _check_shape(self, shape: Shape) -> None:
        if shape.format == "regex" and not self.takes_regex:
            raise DistilmqUserError(
                f"`{type(self).__name__}` ('{self.model_name}') cannot be held to a regular expression: give"
                " `structured_output` a JSON schema, as {'schema': …}."
            )
        shape.check()

    def _outcomes(self, inputs: Sequence[Any], requests: Sequence[Request], asking: Asking) -> list[Outcome]:
        watched = [self._watched(inputs[request.place], request, asking) for request in requests]
        outcomes = super()._outcomes(inputs, [request for request, _ in watched], asking)
        return [
            outcome if repair is None or repair.outcome is None else repair.outcome
            for outcome, (_, repair) in zip(outcomes, watched, strict=True)
        ]

    def _watched(self, input: Any, request: Request, asking: Asking) -> tuple[Request, Repair | None]:
        """A request, and who sees to the shape of its answers where they have to have one."""
        try:
            shape = self._wanted_shape(input)
        except DistilmqUserError as error:  # of this input alone
            return replace(request, call=partial(_fail, error)), None
        if shape is None:
            return request, None
        retries = self.max_validation_retries if shape.max_retries is None else shape.max_retries
        repair = Repair(
            shape,
            VALIDATION_RETRIES if retries is None else retries,
            input,
            who=f"'{self.model_name}'",
            ask=partial(asking.again, request.place),
        )
        return replace(request, then=repair.answered), repair

    def _wanted_shape(self, input: Any) -> Shape | None:
        """The shape of the answers to an input: its own, or the model's."""
        _, own = split_input(input)
        if own is None:
            return shape_of(self.structured_output)
        shape = shape_of(own)
        if shape is not None:
            self._check_shape(shape)
        return shape


async def _fail(error: Exception) -> Any:
    raise error
