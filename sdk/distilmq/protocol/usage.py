"""What models took: requests, tokens and money, as it is counted, sent, recorded and shown.

A worker process counts for itself and tells its totals so far, never differences. Of two totals of one process the
one with more requests is the later one, so it does not matter how often a message comes, in which order, or whether
one of them is lost: the next one holds what the lost one said.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0, le=2**53)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Usage(BaseModel):
    """What was had from one model."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    model: str
    requests: Count = 0
    """That were answered."""
    input_tokens: Count = 0
    """Of the requests that it is known of."""
    output_tokens: Count = 0
    """Of the requests that it is known of."""
    input_untold: Count = 0
    """Requests of which nobody says how many tokens went in."""
    output_untold: Count = 0
    """Requests of which nobody says how many tokens came out."""
    cost: Amount = 0.0
    """US dollars, of the requests whose price is known."""
    unpriced: Count = 0
    """Requests whose price is not known."""
    seconds: Amount = 0.0
    """That the answers took, one behind the other."""

    @property
    def tokens(self) -> int:
        """Of input and output together, as far as they are known."""
        return self.input_tokens + self.output_tokens

    @property
    def known_cost(self) -> float | None:
        """US dollars; None when the price of a request is not known."""
        return None if self.unpriced else self.cost

    def plus(self, other: Usage) -> Usage:
        """Both together, under this one's model."""
        return Usage.model_construct(
            model=self.model,
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            input_untold=self.input_untold + other.input_untold,
            output_untold=self.output_untold + other.output_untold,
            cost=self.cost + other.cost,
            unpriced=self.unpriced + other.unpriced,
            seconds=self.seconds + other.seconds,
        )


class WorkerUsage(BaseModel):
    """What one worker process of a step has had from one model since it began."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: str
    worker: str
    """The session of the process."""
    usage: Usage
