"""Runs of a broker, as commands are given them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Optional

import typer

from distilmq.errors import DistilmqUserError, RunError
from distilmq.pipeline.broker_line import BrokerLine, connect_to
from distilmq.protocol.messages.runs import RunInfo
from distilmq.utils.mistakes import told

Broker = Annotated[
    Optional[str],  # noqa: UP045  # typer reads the annotation
    typer.Option("--broker", help="The broker's connection file for clients; else the one DISTILMQ_CONNECTION names."),
]


def found(line: BrokerLine, run: str) -> RunInfo:
    """The run that is meant: its id, the beginning of just one, or the latest of a pipeline."""
    runs = line.runs()
    beginning = [info for info in runs if run and info.run.startswith(run)]
    found = next((info for info in runs if info.run == run), None)
    found = found or next((info for info in runs if info.pipeline == run), None)
    if found is None and len(beginning) == 1:
        found = beginning[0]
    if found is None:
        among = beginning or runs
        known = f"There are: {', '.join(info.run for info in among[:10])}." if among else "It has none."
        raise DistilmqUserError(f"'{run}' is not one run of the broker. {known}")
    return found


@contextmanager
def line_to(broker: str | None) -> Generator[BrokerLine]:
    with told(RunError), BrokerLine(lambda: connect_to(broker)) as line:
        yield line
