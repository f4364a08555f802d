"""Asking a provider about its jobs until it answers: a job runs for hours, and an outage is no reason to give it up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from distilmq.errors import RateLimitedError, TransientError
from distilmq.models.batches.provider import BatchProvider
from distilmq.models.requests.retries import RetryPolicy

T = TypeVar("T")

LISTED_AFTER = 10.0
"""Seconds from its plan in which a job that was begun may not be in the provider's list yet."""


class Patience:
    """With one provider.

    Args:
        provider: runs the jobs.
        policy: how long is waited when it does not answer.
        look_every: seconds between two looks at something that takes its time.
        log: told what is waited for.
    """

    def __init__(self, provider: BatchProvider, policy: RetryPolicy, look_every: float, log: logging.Logger) -> None:
        self._provider = provider
        self._policy = policy
        self._look_every = look_every
        self._log = log

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """What the provider answers in the end.

        Raises:
            RequestError: it refuses to answer.
            StepFatalError: it refuses everything.
        """
        failures = 0
        while True:
            try:
                return await call()
            except (RateLimitedError, TransientError) as error:
                await self.wait(error, failures)
                failures += 1

    async def wait(self, error: RateLimitedError | TransientError, failures: int) -> None:
        """Waits until the provider may be asked again, which has failed so often before."""
        wait = self._policy.delay(min(failures, 10), error.retry_after)
        log = self._log.warning if failures == 0 else self._log.debug
        log("Batch jobs of %s: %s; tried again in %.0f s", self._provider.name, error, wait)
        await asyncio.sleep(wait)

    async def find(self, job: str, *, planned: float, size: int, known: Callable[[], Collection[str]]) -> str | None:
        """What the provider calls a job that may have been begun; None where it was not.

        Args:
            job: what we call it.
            planned: when, in seconds since 1970.
            size: its requests.
            known: gives what the provider calls jobs that are others.
        """
        while True:
            found = await self.ask(lambda: self._provider.find(job, planned=planned, size=size, known=known()))
            if found.id is not None:
                return found.id
            left = planned + LISTED_AFTER - time.time()
            if found.sure and left <= 0:
                return None
            await asyncio.sleep(min(self._look_every, left) if found.sure else self._look_every)
