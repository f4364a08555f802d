"""A run on a Ray cluster: a broker on this machine, and an autoscaler beside it that has Ray place workers."""

from __future__ import annotations

import importlib.util
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from distilmq.errors import DistilmqUserError, RunError
from distilmq.pipeline.interrupt import Interrupts
from distilmq.pipeline.last_run import LastRun
from distilmq.pipeline.launch import Launchable, Left, folder_name
from distilmq.pipeline.prepare import Prepared, RunOptions, prepare
from distilmq.pipeline.progress import failures, open_view
from distilmq.pipeline.run import Outcome, Place, Reading, say
from distilmq.pipeline.submitted_run import SubmittedRun
from distilmq.pipeline.submitting import submit
from distilmq.protocol.failure_filter import FailureFilter
from distilmq.transport.connection_file import write_private

if TYPE_CHECKING:
    from distilmq.distiset import Distiset

_TAIL = 4000
"""Bytes of a process's last words that an error shows."""
_CLOSING = 20.0
"""Seconds in which a process that was let go must be gone."""
_IDLE = 5
"""Seconds after which a worker without anything to do gives back what it has of the cluster."""


def run_on_ray(
    pipeline: Launchable,
    options: RunOptions,
    url: str | None,
    init: Mapping[str, Any],
    keep: Callable[[LastRun], None],
    *,
    new: bool,
) -> Distiset:
    """Runs a pipeline with workers that Ray places; see `RayPipeline.run`.

    Args:
        pipeline: to run.
        options: as of `run`.
        url: of the cluster, as `ray.init` takes it.
        init: more of what that takes.
        keep: gets what is left of the run, however it ends.
        new: start a run even if one of the same pipeline is unfinished.
    """
    _check(init)
    # Before Ray is waited for: what is wrong with the pipeline is said at once.
    prepared = prepare(pipeline.dag, options)
    folder = pipeline.cache_dir / folder_name(pipeline.name) / "ray"
    processes = sum(step.resources.replicas or 1 for step in pipeline.dag.steps.values())
    with Interrupts() as interrupts, RayWorkers(folder, url, init, processes) as workers:
        run = submit(pipeline, workers.key, options, new=new)
        say(f"{'Going on with' if run.attached else 'Started'} run '{run.id}' on Ray.")
        left = _left(pipeline, prepared, folder / "runs" / run.id, keep)
        outcome: Outcome = "lost"
        distiset: Distiset | None = None
        try:
            outcome = _follow(pipeline.name, run, workers, interrupts)
            distiset = run.distiset()
            return distiset
        except KeyboardInterrupt:
            outcome = "stopped"
            raise
        except RunError:
            outcome = "failed" if workers.alive else "lost"
            raise
        finally:
            keep(left.last_run(outcome, distiset=distiset))


class _LeftOnRay(Left):
    """What is left of a run on Ray: it is read on this machine."""

    def retry(self, only: FailureFilter) -> LastRun:
        """Is refused: this machine may lack what Ray has for the steps."""
        raise DistilmqUserError(
            f"Failed rows of a run on Ray are not computed again on Ray. `distilmq failures retry` with the run in"
            f" {self.place.directory} computes them on this machine, if it has what the steps need."
        )


def _left(pipeline: Launchable, prepared: Prepared, directory: Path, keep: Callable[[LastRun], None]) -> Left:
    leaves = tuple(prepared.dag.graph.leaves)
    reading = Reading(
        leaves=leaves,
        features=prepared.features,
        columns={leaf: prepared.columns.get(leaf, []) for leaf in leaves},
        enable_metadata=pipeline.enable_metadata,
    )
    return _LeftOnRay(Place(directory, directory.parent), list(prepared.dag.steps), reading, keep, {})


def _follow(name: str, run: SubmittedRun, workers: RayWorkers, interrupts: Interrupts) -> Literal["done", "stopped"]:
    """Follows a run to its end.

    Raises:
        KeyboardInterrupt: it was stopped by Ctrl+C.
        RunError: it failed, or a process of ours has died.
    """
    heard = 0

    def on_wake() -> None:
        nonlocal heard
        count = interrupts.count
        if count > heard == 0:
            run.stop()
        if count > max(heard, 1):
            run.kill()
        heard = count

    view = open_view(name, run.id)
    try:
        with interrupts.held():
            outcome = run.follow(view, tuple(interrupts.files), on_wake, check=workers.check)
    finally:
        view.close()
    if view.last is not None and (said := failures(view.last)):
        say(said)
    if outcome == "stopped" and interrupts.count:
        say(f"Stopped. What is done is kept in {workers.folder}: run the script again to go on from there.")
        raise KeyboardInterrupt
    return outcome


class RayWorkers:
    """A broker of this script, and an autoscaler that starts its workers on Ray; they live no longer than we do.

    Args:
        folder: of the broker; what it has recorded there is used again.
        url: of the cluster.
        init: more of what `ray.init` takes.
        processes: how many step processes the pipeline has at most.
    """

    def __init__(self, folder: Path, url: str | None, init: Mapping[str, Any], processes: int) -> None:
        self.folder = folder
        self.key = folder / "keys" / "client.json"
        """The connection file for us."""
        self._url = url
        self._init = init
        self._processes = processes
        self._stack = ExitStack()
        self._broker: _Tied | None = None
        self._scaler: _Tied | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with ExitStack() as stack:
            # Workers reach it at the address that Ray has for this machine: see `--broker-here`.
            listening = ["--bind", "tcp://0.0.0.0:0", "--host", "127.0.0.1", "--dir", str(self.folder), "--tied"]
            self._broker = stack.enter_context(_Tied("broker", ["broker", "start", *listening]))
            self._broker.wait_for("The broker listens")
            self._scaler = stack.enter_context(_Tied("autoscaler", self._scaling(stack)))
            self._scaler.wait_for("Scales")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def alive(self) -> bool:
        """Whether neither of the two has died."""
        return all(process is not None and process.alive for process in (self._broker, self._scaler))

    def check(self) -> None:
        """Raises when one of the two has died.

        Raises:
            RunError: with its last words.
        """
        for process in (self._broker, self._scaler):
            if process is not None:
                process.check()

    def _scaling(self, stack: ExitStack) -> Sequence[str]:
        # In a file: it may hold variables that are nobody's business.
        private = stack.enter_context(tempfile.TemporaryDirectory(prefix="distilmq-ray-"))
        init = Path(private) / "init.json"
        write_private(init, json.dumps(dict(self._init)))
        return [
            *("launch", "autoscale", "ray", "--tied", "--eager", "--broker-here"),
            *("--broker", str(self.key), "--connect", str(self.folder / "keys" / "worker.json")),
            # Of one that is leaving and the one that takes its place, both count.
            *("--max", str(2 * self._processes), "--idle-timeout", str(_IDLE), "--cooldown", "1"),
            *("--prefix", f"ray-{secrets.token_hex(3)}", "--init", str(init)),
            *(("--address", self._url) if self._url is not None else ()),
        ]


class _Tied:
    """A program of ours that ends when this process does: its standard input tells it."""

    def __init__(self, name: str, words: Sequence[str]) -> None:
        self._name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(
            # -P: a queue.py in the folder where the script was started must not stand in for the library's.
            [sys.executable, "-P", "-m", "distilmq", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # The terminal's Ctrl+C is for the script.
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def wait_for(self, beginning: str) -> None:
        """Waits until it says a line that begins so.

        Raises:
            RunError: it ended before.
        """
        for line in self._process.stdout or ():
            if line.startswith(beginning):
                return
        self._process.wait()
        self.check()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raises when it has ended.

        Raises:
            RunError: with its last words.
        """
        code = self._process.poll()
        if code is None:
            return
        self._errors.seek(0)
        said = self._errors.read()[-_TAIL:].decode(errors="replace").strip()
        raise RunError(f"The {self._name} of the run on Ray ended (exit code {code}): {said or 'it said nothing'}")


def _check(init: Mapping[str, Any]) -> None:
    if importlib.util.find_spec("ray") is None:
        raise DistilmqUserError("Ray is not installed here: pip install 'distilmq[ray]'")
    for name, value in init.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise DistilmqUserError(
                f"`ray_init_kwargs[{name!r}]` goes to another process as JSON, and cannot: {error}. Give it as the"
                " environment variable that Ray has for it, or leave it out."
            ) from error
