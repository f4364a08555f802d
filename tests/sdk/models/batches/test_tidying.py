"""When what a job has left at its provider is deleted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from distilmq.models.batches.book import LooseJobs
from distilmq.models.batches.jobs import Look
from distilmq.models.batches.tidying import Tidying

LOOK = Look(over=True, done=5, total=5)


class Store:
    """A provider that is told to delete."""

    def __init__(self) -> None:
        self.name = "store"
        self.deleted: list[Look] = []

    async def tidy(self, look: Look) -> None:
        self.deleted.append(look)


class Book(LooseJobs):
    """Of a batch whose results are recorded when the test says so."""

    def __init__(self) -> None:
        super().__init__(lambda id: None)
        self.recorded: Callable[[], None] = lambda: None

    def when_recorded(self, then: Callable[[], None]) -> None:
        self.recorded = then


async def after(tidying: Tidying, *books: Book) -> None:
    """Those are recorded, and what follows from it is done."""
    for book in books:
        book.recorded()
    await asyncio.sleep(0)
    await tidying.finish()


def test_nothing_is_deleted_before_all_batches_of_a_job_are_recorded() -> None:
    async def told() -> list[int]:
        store, first, second = Store(), Book(), Book()
        tidying = Tidying(store, logging.getLogger("test"))
        tidying.when_recorded("job", 5, LOOK, {first: 3, second: 2})
        await after(tidying, first)
        counts = [len(store.deleted)]
        await after(tidying, second)
        return [*counts, len(store.deleted)]

    assert asyncio.run(told()) == [0, 1]


def test_batches_that_come_when_their_job_is_over_count_as_well() -> None:
    async def told() -> list[int]:
        store, first, late = Store(), Book(), Book()
        tidying = Tidying(store, logging.getLogger("test"))
        tidying.when_recorded("job", 5, LOOK, {first: 3})
        await after(tidying, first)
        counts = [len(store.deleted)]
        tidying.when_recorded("job", 5, LOOK, {late: 2})
        await after(tidying, late)
        return [*counts, len(store.deleted)]

    assert asyncio.run(told()) == [0, 1]


def test_what_other_processes_have_to_read_stays() -> None:
    async def told() -> int:
        store, own = Store(), Book()
        tidying = Tidying(store, logging.getLogger("test"))
        tidying.when_recorded("job", 5, LOOK, {own: 3})
        await after(tidying, own)
        return len(store.deleted)

    assert asyncio.run(told()) == 0
