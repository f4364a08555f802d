"""What a request costs: by prices that the user gave, else by the list of the package `genai-prices`.

The list knows providers by the address of their API, so a server of one's own that serves a model of a known name is
not taken for its provider. What is in neither has no price: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

_Kind = Literal["input", "output"]

_PER = 1_000_000
_BATCH = {"processing": "batch"}
"""As `genai-prices` marks prices of batch jobs."""


def _complete(prices: dict[_Kind, float]) -> dict[_Kind, float]:
    missing = [name for name in ("input", "output") if name not in prices]
    if missing:
        raise ValueError(
            f"prices lack {' and '.join(repr(name) for name in missing)}: give US dollars per million tokens, as in"
            ' {"input": 2.5, "output": 10}'
        )
    return prices


Prices = Annotated[dict[_Kind, Annotated[float, Field(ge=0, allow_inf_nan=False)]], AfterValidator(_complete)]
"""US dollars per million tokens of input and of output."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Where in the list of prices a model stands."""

    model: str
    url: str | None = None
    """Of the API; without one the provider counts."""
    provider: str | None = None
    """As `genai-prices` calls it."""


def own_cost(prices: Mapping[_Kind, float], input_tokens: int, output_tokens: int) -> float:
    """US dollars of some tokens by prices per million."""
    return (prices["input"] * input_tokens + prices["output"] * output_tokens) / _PER


def listed_cost(listed: Listed, input_tokens: int, output_tokens: int, *, batch: bool = False) -> float | None:
    """US dollars of some tokens of one request by the list; None when the model is not in it.

    Args:
        listed: the model.
        input_tokens: of the request.
        output_tokens: of its answer.
        batch: whether it was asked through a batch job; None as well when the list has no price for that.
    """
    if _is_own_server(listed.url) or not (listed.url or listed.provider):
        return None
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    context = _BATCH if batch else None
    try:
        if listed.url:
            price = calc_price(usage, listed.model, provider_api_url=listed.url, price_context=context)
        else:
            price = calc_price(usage, listed.model, provider_id=listed.provider, price_context=context)
    except LookupError:
        return None
    if batch and not any(variant.when == _BATCH for variant in price.model.price_variants or ()):
        return None  # the list would give the price of single requests
    return float(price.total_price)


def _is_own_server(url: str | None) -> bool:
    """Whether an address is one that no provider has: then the list, which takes 0.3 s to import, need not be read."""
    host = urlsplit(url).hostname or "" if url else "."
    try:
        ip_address(host)
    except ValueError:
        return "." not in host
    return True
