"""Runs a compiled pipeline on this machine: coordinator up, plan in, progress on screen, Distiset out."""

from __future__ import annotations

import atexit
import gc
import secrets
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from distilmq.constants import PIPELINE_CONFIG_FILENAME, PIPELINE_LOG_FILENAME
from distilmq.errors import CoordinatorLostError
from distilmq.pipeline.budget import budget_error
from distilmq.pipeline.client import Client, Follower
from distilmq.pipeline.compile import Compiled
from distilmq.pipeline.failure import run_error
from distilmq.pipeline.followers import OnceAtWork, Quiet
from distilmq.pipeline.interrupt import Interrupts
from distilmq.pipeline.local import LocalCoordinator
from distilmq.pipeline.progress import View, failures, open_view
from distilmq.pipeline.usage import RunUsage, run_usage
from distilmq.pipeline.warm_up import WarmUp
from distilmq.protocol.messages import Finished, Progress
from distilmq.protocol.plan import decode_plan, encode_plan

if TYPE_CHECKING:
    from distilmq.distiset import Distiset

Outcome = Literal["done", "stopped", "failed", "lost"]
T = TypeVar("T")

_CLOSING = 5.0
"""Seconds in which a coordinator that was let go must be gone."""
_REMOVING = 30.0
"""Seconds more for one that has files to remove from a file system, which may be slow."""
_WARMED_UP = 60.0
"""Seconds in which what is being imported must have been."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run lies."""

    directory: Path
    cache_dir: Path
    temporary: bool = False
    """Of a dry run: removed at the end."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the rows of a run become a Distiset."""

    leaves: tuple[str, ...]
    features: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the datasets that were given declare of their columns."""
    columns: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Of each leaf, for when it has no row."""
    enable_metadata: bool = True


class LocalRun(Generic[T]):
    """One run of a compiled pipeline on this machine.

    Args:
        compiled: the plan and its secrets.
        place: where the journal is, or will be.
        read: what is wanted of the run once it is done.
        meanwhile: called once the run goes on without us.
    """

    def __init__(
        self,
        compiled: Compiled,
        place: Place,
        read: Callable[[Client], T],
        *,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self._compiled = compiled
        self._meanwhile = meanwhile
        self._place = place
        self._read = read
        self.outcome: Outcome = "lost"
        self.failures: list[dict[str, Any]] | None = None
        """The dead letters, where there are none, or of a dry run, whose dead letters cannot be read later."""
        self.usage: RunUsage | None = None
        """What models took, where it was asked for before the coordinator left."""
        self.last_progress: Progress | None = None

    @property
    def steps(self) -> list[str]:
        """The steps that it runs, in their order."""
        return [step.name for step in self._compiled.plan.steps]

    def execute(self, interrupts: Interrupts) -> T:
        """Runs to the end and returns what is read then.

        Raises:
            KeyboardInterrupt: the run was stopped; how to resume has been said.
            SystemExit: as before, by SIGTERM or SIGHUP.
            RunError: a step could not be loaded, or ended the run, or the coordinator died.
        """
        closing = _CLOSING + (0.0 if self._compiled.plan.settings.storage is None else _REMOVING)
        with interrupts.held():
            view = open_view(self._compiled.plan.pipeline, str(self._place.directory))
            try:
                with _warm_up(interrupts) as warm_up, _coordinator(self._place, interrupts, closing) as coordinator:
                    return self._follow(coordinator, view, interrupts, warm_up)
            finally:
                view.close()
                if interrupts.count > 1:
                    _spare_the_last_collection()

    def _follow(self, coordinator: LocalCoordinator, view: View, interrupts: Interrupts, warm_up: WarmUp) -> T:
        follower = self._warming_up(view, warm_up)
        conversation = _Conversation(coordinator, follower, interrupts, self._compiled.plan.settings.stop_timeout)
        try:
            finished = conversation.run(self._compiled, self._meanwhile)
            view.close()
            if view.last is not None and (said := failures(view.last)):
                say(said)
            self.last_progress = view.last
            if finished is not None and interrupts.count < 2:
                self._tell_usage(conversation.client, conversation.epoch)
            return self._result(conversation.client, finished, interrupts)
        except CoordinatorLostError:
            if interrupts.count < 2:
                raise
            # It was killed while it was asked something.
            return self._result(conversation.client, None, interrupts)
        finally:
            conversation.client.close()

    def _warming_up(self, view: View, warm_up: WarmUp) -> Follower:
        """Begins to import what the end needs: at once, or once the steps are loaded where some call models.

        Their workers import a provider's library in these seconds and send no request before: they need the cores,
        and such a run takes long enough.
        """
        if any(step.models for step in self._compiled.plan.steps):
            return OnceAtWork(view, warm_up.start)
        warm_up.start()
        return view

    def _tell_usage(self, client: Client, epoch: int) -> None:
        progress = self.last_progress
        known = progress is not None and not any(step.requests for step in progress.steps)
        self.usage = RunUsage() if known else run_usage(client.usage(), self.steps)
        if self.usage:
            say(f"What models took{', in all starts of this run' if epoch > 1 else ''}:\n{self.usage}")

    def _result(self, client: Client, finished: Finished | None, interrupts: Interrupts) -> T:
        self.outcome = finished.outcome if finished is not None else "stopped"
        if finished is not None and finished.budget and not interrupts.count:
            raise budget_error(finished.budget, self._compiled.plan.settings, self.usage or RunUsage())
        if finished is None or finished.outcome == "stopped":
            say(self._how_to_go_on())
            raise interrupts.ending()
        if finished.outcome == "failed":
            raise run_error(finished, trusted=True)
        if self._place.temporary:
            self.failures = client.failures()
        elif self.last_progress is not None and not any(step.failed_rows for step in self.last_progress.steps):
            self.failures = []
        try:
            with interrupts.raised():
                return self._read(client)
        except (KeyboardInterrupt, SystemExit):
            say(self._how_to_go_on(done=True))
            raise

    def _how_to_go_on(self, *, done: bool = False) -> str:
        if self._place.temporary:
            return "Stopped. Nothing is kept of a dry run."
        again = "run the script again" if self._compiled.plan.settings.use_cache else "run it again with use_cache=True"
        if done:
            return f"Stopped before the dataset was complete. All rows are done: {again} to get the dataset."
        kept = f"Stopped. What is done is kept in {self._place.directory}: {again} to go on from there."
        return kept + self._left_at_providers()

    def _left_at_providers(self) -> str:
        """What there is to say about batch jobs, which do not stop with the run."""
        progress = self.last_progress
        jobs = 0 if progress is None else sum(step.jobs for step in progress.steps)
        if not jobs:
            return ""
        which = "1 batch job goes on at its provider" if jobs == 1 else f"{jobs} batch jobs go on at their providers"
        return f" {which} and will be found again."


class _Conversation:
    """The client of one run: the first signal stops it, the second kills it."""

    def __init__(
        self, coordinator: LocalCoordinator, view: Follower, interrupts: Interrupts, stop_timeout: float
    ) -> None:
        self._coordinator = coordinator
        self._interrupts = interrupts
        self._stop_timeout = stop_timeout
        self._heard = 0
        self.epoch = 1
        """Which start of the run it is."""
        self.client = Client(
            connect(coordinator.endpoint),
            session=secrets.token_hex(8),
            follower=view,
            check=self._check,
            files=interrupts.files,
            on_wake=self._on_wake,
            trusted=True,
        )

    def run(self, compiled: Compiled, meanwhile: Callable[[], None]) -> Finished | None:
        """Submits and follows; None when the run was stopped before or so hard that it could not say its end."""
        try:
            self.epoch = self.client.open().epoch
            if self._interrupts.count:
                return None
            self.client.submit(encode_plan(compiled.plan), compiled.secrets)
            meanwhile()
            return self.client.follow()
        except CoordinatorLostError:
            if self._interrupts.count < 2:
                raise
            return None

    def _on_wake(self) -> None:
        count = self._interrupts.count
        if count > self._heard == 0:
            self.client.stop(self._stop_timeout)
        if count > max(self._heard, 1):
            self.client.kill()
        self._heard = count

    def _check(self) -> None:
        if self._interrupts.forced:
            self._coordinator.kill()
        self._coordinator.check()


def read_distiset(client: Client, reading: Reading, place: Place) -> Distiset:
    """The Distiset of the rows that are recorded of each leaf."""
    from distilmq.distiset import build_distiset

    return build_distiset(
        {leaf: client.fetch(leaf) for leaf in reading.leaves},
        directory=place.directory,
        pipeline_path=place.directory / PIPELINE_CONFIG_FILENAME,
        log_filename_path=place.directory / PIPELINE_LOG_FILENAME,
        artifacts_path=place.directory / "artifacts",
        features=reading.features,
        columns=reading.columns,
        enable_metadata=reading.enable_metadata,
        keep_in_memory=place.temporary,
    )


def reopened(place: Place, read: Callable[[Client], T]) -> T:
    """Asks something about a run that is over, through a coordinator that starts nothing."""
    plan = decode_plan((place.directory / "plan.msgpack").read_bytes())
    settings = plan.settings.model_copy(update={"read_only": True})
    coordinator = LocalCoordinator(place.directory, place.cache_dir)
    try:
        client = Client(
            connect(coordinator.endpoint),
            session=secrets.token_hex(8),
            follower=Quiet(),
            check=coordinator.check,
            trusted=True,
        )
        try:
            client.open()
            client.submit(encode_plan(plan.model_copy(update={"settings": settings})), {})
            client.follow()
            return read(client)
        finally:
            client.close()
    finally:
        coordinator.close(patience=_CLOSING)


def connect(endpoint: str) -> Any:
    """A connection to a coordinator."""
    from distilmq.transport.zeromq import connect as connect_zeromq

    # The coordinator also sees its standard input end: nothing is lost when the last words do not reach it.
    return connect_zeromq(endpoint, linger=0.5)


def say(text: str) -> None:
    """Tells the user something that is no log; nobody, when the terminal is gone."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


@contextmanager
def _warm_up(interrupts: Interrupts) -> Generator[WarmUp]:
    warm_up = WarmUp()
    try:
        yield warm_up
    finally:
        warm_up.stop()
        if not interrupts.wait(warm_up.ended, _WARMED_UP):
            warm_up.leave_behind()


@contextmanager
def _coordinator(place: Place, interrupts: Interrupts, closing: float) -> Generator[LocalCoordinator]:
    coordinator = LocalCoordinator(place.directory, place.cache_dir)
    try:
        yield coordinator
    finally:
        coordinator.hang_up()
        interrupts.wait(coordinator.ended, closing)
        coordinator.close()


def _spare_the_last_collection() -> None:
    """Has the interpreter end without looking for cycles in everything that was imported: it takes half a second."""
    atexit.register(gc.freeze)
