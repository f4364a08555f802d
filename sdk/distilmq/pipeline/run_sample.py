"""The first rows of a submitted run, to look at."""

from __future__ import annotations

import secrets
from typing import Any

from distilmq.pipeline.broker_line import connect_to
from distilmq.pipeline.client import Client
from distilmq.pipeline.followers import Quiet
from distilmq.protocol.messages.runs import RunShown
from distilmq.protocol.rows import decode_rows
from distilmq.transport.addressed import Addressed


def sample_of(broker: str | None, shown: RunShown, count: int) -> dict[str, list[dict[str, Any]]]:
    """The first rows of each leaf that has any: leaf to at most so many rows.

    Args:
        broker: see `connect_to`.
        shown: the run.
        count: rows of each leaf.

    Raises:
        RunError: the broker or the run's coordinator does not answer.
    """
    steps = () if shown.progress is None else shown.progress.steps
    rows = {step.step: step.rows for step in steps}
    return {leaf: _first(broker, shown.info.run, leaf, count) if rows.get(leaf) else [] for leaf in shown.leaves}


def _first(broker: str | None, run: str, leaf: str, count: int) -> list[dict[str, Any]]:
    client = Client(Addressed(connect_to(broker), run), session=secrets.token_hex(8), follower=Quiet())
    found: list[dict[str, Any]] = []
    try:
        client.open()
        for payload in client.fetch(leaf):
            found += decode_rows(payload)
            if len(found) >= count:
                break
    finally:
        client.close()
    return found[:count]
