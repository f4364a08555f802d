"""One request on its way through batch jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from distilmq.models.batches.book import JobBook
from distilmq.models.batches.jobs import Seat


@dataclass(slots=True, eq=False)
class Ticket:
    """A request: it is posted, waits for its answer, and is posted again when it has to go into another job."""

    row: int
    key: bytes
    seat: Seat
    book: JobBook
    draining: Callable[[], bool]
    """Whether nobody waits for the answer any more."""
    deliver: Callable[[Ticket], Awaitable[Any]]
    """Has it asked; gives the provider's answer."""
    url: str = ""
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    size: int = 0
    """Of the body, in bytes."""
    posted: bool = False
    """Whether the call at hand has asked through a job."""
    answer: asyncio.Future[Any] | None = None

    @property
    def waits(self) -> bool:
        """Whether somebody waits for its answer."""
        return self.answer is not None and not self.answer.done()

    async def post(self, url: str, body: Mapping[str, Any]) -> Any:
        """Asks through a batch job.

        Args:
            url: the path of the API that it would be sent to by itself.
            body: of the request.

        Returns:
            The provider's answer.

        Raises:
            RequestError: the provider gave an error instead.
            DrainedError: the worker drains: the answer is not waited for.
        """
        self.url, self.body, self.posted = url, body, True
        return await self.deliver(self)

    def unseat(self, *, tried: bool) -> None:
        """It is in no job any more; `tried` tells whether having been in one counts."""
        tries = self.seat.tries if tried else max(0, self.seat.tries - 1)
        self.seat = replace(Seat(self.seat.occurrence), tries=tries)

    def settle(self, outcome: Any) -> None:
        """It has its answer, or an error instead; the first one counts."""
        if self.answer is None or self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


current_ticket: ContextVar[Ticket | None] = ContextVar("current_ticket", default=None)
"""Of the request that a model is making; None where it is to be sent by itself."""


def with_extra_body(options: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request from the arguments of OpenAI's and Anthropic's libraries."""
    body = {name: value for name, value in options.items() if name != "extra_body"}
    return {**body, **(options.get("extra_body") or {})}
