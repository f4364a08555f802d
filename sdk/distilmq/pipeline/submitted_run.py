"""A run at a broker: it goes on whether anybody follows it or not."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distilmq.errors import DistilmqUserError
from distilmq.pipeline.broker_line import PATIENCE, BrokerLine, connect_to
from distilmq.pipeline.client import Client, Follower
from distilmq.pipeline.dead_letters import readable
from distilmq.pipeline.failure import run_error
from distilmq.pipeline.followers import Quiet
from distilmq.pipeline.last_run import LastRun
from distilmq.pipeline.meant_rows import MeantRows
from distilmq.pipeline.remote_dataset import fetch_distiset
from distilmq.pipeline.usage import RunUsage, run_usage
from distilmq.protocol.failure_filter import FailureFilter
from distilmq.protocol.messages import Progress
from distilmq.protocol.messages.runs import RunInfo
from distilmq.transport.addressed import Addressed

if TYPE_CHECKING:
    from distilmq.distiset import Distiset

Broker = str | os.PathLike[str] | None
"""A connection file, `tcp://HOST:PORT`, or None for what `DISTILMQ_CONNECTION` names."""

_log = logging.getLogger("distilmq.pipeline")

_LOOK_EVERY = 0.5
"""Seconds between looks at whether a run is over."""


class SubmittedRun:
    """A run at a broker.

    Attributes:
        id: by which every client of the broker finds it.
        broker: where it is.
        attached: it was there already when it was submitted, unfinished.
    """

    def __init__(self, broker: Broker, id: str, *, folder: Path, attached: bool = False) -> None:
        self.id = id
        self.broker = broker
        self.attached = attached
        self._folder = folder
        """Where its dataset is put on this machine."""
        self._secrets: Mapping[str, Mapping[str, str]] = {}
        """What was handed over."""

    def __repr__(self) -> str:
        return f"SubmittedRun({self.id!r})"

    # ------------------------------------------------------------ following

    def info(self) -> RunInfo:
        """Its state, and when it was submitted.

        Raises:
            DistilmqUserError: the broker has no such run (any more).
        """
        with self._line() as line:
            return line.run(self.id)

    def progress(self) -> Progress:
        """Where each step is."""
        with self._client(Quiet()) as client:
            return client.progress()

    def wait(self, timeout: float | None = None) -> Literal["done", "stopped"]:
        """Waits until the run is over; that it is paused is logged, with how to go on.

        Args:
            timeout: seconds; None to wait for as long as it takes.

        Raises:
            TimeoutError: it is still going on.
            RunError: it failed; the worker's traceback is part of the error.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = threading.Event()
        paused = False
        with self._line() as line:
            while (info := line.run(self.id)).state not in ("done", "stopped", "failed"):
                if info.state == "paused" and not paused:
                    text = "Run '%s' is paused (%s). `distilmq runs resume %s` goes on."
                    _log.warning(text, self.id, info.reason, self.id)
                paused = info.state == "paused"
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"Run '{self.id}' is still going on after {timeout} s.")
                pause.wait(_LOOK_EVERY)
        return self.follow(Quiet())

    def follow(
        self,
        follower: Follower,
        files: tuple[int, ...] = (),
        on_wake: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ) -> Literal["done", "stopped"]:
        """As `wait`, and tells a follower what happens; `check` raises when that will never come."""
        with self._client(follower, files, on_wake, check) as client:
            finished = client.follow()
        if finished.outcome == "failed":
            raise run_error(finished)
        return finished.outcome

    # ------------------------------------------------------------ controlling

    def stop(self, timeout: float | None = None) -> None:
        """Stops it: nothing new is begun, requests that are out are awaited; `resume` goes on with it.

        Args:
            timeout: seconds for what is out; as the run's settings say when it is None.
        """
        self._control("stop", timeout)

    def kill(self) -> None:
        """Ends it at once; what is recorded stays."""
        self._control("kill")

    def pause(self) -> None:
        """Hands nothing out until `resume`."""
        self._control("pause")

    def resume(self) -> None:
        """Goes on, also with a run that was stopped."""
        self._control("resume")

    def give_secrets(self, secrets: Mapping[str, Mapping[str, str]]) -> None:
        """Hands over values that are in no plan: step to dotted field (`llm.api_key`) to value; kept in memory only."""
        self._secrets = secrets
        with self._client(Quiet()) as client:
            client.give_secrets(secrets)

    def retry_failures(self, *, step: str | None = None, error: str | None = None) -> SubmittedRun:
        """Has failed rows computed again, and what was made from them, in a new revision of the run.

        Everything else stays as it is recorded, and no model is asked about it again.

        Args:
            step: only rows that failed in this step.
            error: only this class of error, or messages with this text.

        Returns:
            The revision: a run of its own, which goes on as any other does; the one that does so already, if there is.

        Raises:
            DistilmqUserError: no such row failed, or the run is not over.
        """
        return self.revise(FailureFilter(steps=(step,) if step else (), errors=(error,) if error else ()))

    def revise(self, only: FailureFilter) -> SubmittedRun:
        """As `retry_failures`, of all rows that a filter takes."""
        with self._client(Quiet()) as client:
            kinds = {step.step: step.kind for step in client.progress().steps}
            meant = MeantRows(readable(client.failures()), only, kinds)
        if not meant.rows:
            raise DistilmqUserError(meant.why_none())
        with self._line() as line:
            started = line.revise(_next_id(self.id, [info.run for info in line.runs()]), self.id, only)
        run = SubmittedRun(self.broker, started.run, folder=self._folder, attached=started.attached)
        if self._secrets:
            run.give_secrets(self._secrets)
        return run

    # ------------------------------------------------------------ what came of it

    def distiset(self) -> Distiset:
        """The dataset, once the run is over; of one that was stopped, the rows up to there.

        Rows come in parts, go on where they were when the line is cut, and never lie in memory all at once.

        Raises:
            RunError: the run failed.
        """
        self.wait()
        return self._fetched()

    def _fetched(self) -> Distiset:
        with self._client(Quiet()) as client:
            return fetch_distiset(client, self._folder / self.id, log=self._log())

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The dead letters: see `LastRun.failures`."""
        with self._client(Quiet()) as client:
            return readable(client.failures())

    @property
    def usage(self) -> RunUsage:
        """What models took: see `LastRun.usage`."""
        with self._client(Quiet()) as client:
            steps = list(client.describe().steps)
            return run_usage(client.usage(), steps)

    def last_run(
        self, outcome: Literal["done", "stopped", "failed"], retry: Callable[[FailureFilter], LastRun]
    ) -> LastRun:
        """What is left of it, for the pipeline that was run; the broker is asked when something is asked for.

        Args:
            outcome: how it ended.
            retry: computes failed rows again.
        """
        return LastRun(
            self._folder / self.id,
            outcome,
            self._fetched,
            lambda: self.failures,
            lambda: self.usage,
            retry,
        )

    # ------------------------------------------------------------ lines

    def _control(self, action: str, timeout: float | None = None) -> None:
        with self._line() as line:
            line.control(self.id, action, timeout)

    def _log(self) -> bytes:
        with self._line() as line:
            log, offset = line.log(self.id)
            while (part := line.log(self.id, offset))[0]:
                log, offset = log + part[0], part[1]
        return log

    def _line(self) -> BrokerLine:
        return BrokerLine(lambda: connect_to(self.broker))

    @contextmanager
    def _client(
        self,
        follower: Follower,
        files: tuple[int, ...] = (),
        on_wake: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ) -> Generator[Client]:
        client = Client(
            Addressed(connect_to(self.broker), self.id),
            session=secrets.token_hex(8),
            follower=follower,
            files=files,
            on_wake=on_wake,
            check=check,
            patience=PATIENCE,
        )
        try:
            client.open()
            yield client
        finally:
            client.close()


def _next_id(run: str, there: Collection[str]) -> str:
    """The id of the next revision of a run, or of what that is a revision of."""
    family, _, number = run.rpartition("-")
    if not (family in there and number.isdecimal()):
        family = run
    return next(f"{family}-{number}" for number in count(2) if f"{family}-{number}" not in there)
