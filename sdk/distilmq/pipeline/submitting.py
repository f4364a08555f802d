"""What `Pipeline.submit` does: the plan of a pipeline, with all that it needs, to a broker."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from distilmq.errors import DistilmqUserError, RunError
from distilmq.pipeline import serialization
from distilmq.pipeline.broker_line import BrokerLine, connect_to
from distilmq.pipeline.budget import check_prices
from distilmq.pipeline.compile import Compiled, compile_plan
from distilmq.pipeline.data_files import Send, upload
from distilmq.pipeline.interrupt import Interrupts
from distilmq.pipeline.last_run import LastRun
from distilmq.pipeline.launch import Launchable, folder_name
from distilmq.pipeline.logs import run_logging
from distilmq.pipeline.prepare import Prepared, RunOptions, prepare, storage_of
from distilmq.pipeline.progress import failures, open_view
from distilmq.pipeline.remote_dataset import encoded_features
from distilmq.pipeline.requirements import check_requirements
from distilmq.pipeline.run import say
from distilmq.pipeline.settings import run_settings
from distilmq.pipeline.submitted_run import Broker, SubmittedRun
from distilmq.protocol.failure_filter import FailureFilter
from distilmq.protocol.messages.runs import RunStarted
from distilmq.protocol.plan import DatasetSpec, encode_plan
from distilmq.utils.files import to_yaml

if TYPE_CHECKING:
    from distilmq.distiset import Distiset

MAX_PLAN = 128 * 1024 * 1024
"""Bytes of a plan; large data is not part of it."""


def submit(
    pipeline: Launchable, broker: Broker, options: RunOptions, *, new: bool = False, weight: float = 1.0
) -> SubmittedRun:
    """Hands a pipeline to a broker.

    Args:
        pipeline: to run.
        broker: where.
        options: as of `run`.
        new: start a run even if one of the same pipeline is unfinished.
        weight: of the run, where several want the same workers.

    Raises:
        DistilmqUserError: the pipeline or an argument is wrong, or the broker refuses it.
        RunError: the broker does not answer.
    """
    settings = run_settings(os.environ)
    with run_logging(options.logging_handlers, settings.log_level):
        prepared = prepare(pipeline.dag, options)
        check_requirements(pipeline.requirements)
        if options.max_cost is not None:
            check_prices(prepared.dag)
        with _folder_for_data(pipeline.cache_dir) as inputs:
            compiled = _compile(pipeline, options, prepared, inputs)
            started = _start(pipeline, broker, compiled, key="" if new else prepared.run_id, weight=weight)
    folder = pipeline.cache_dir / folder_name(pipeline.name)
    submitted = SubmittedRun(broker, started.run, folder=folder, attached=started.attached)
    if compiled.secrets:
        submitted.give_secrets(compiled.secrets)
    return submitted


def _start(pipeline: Launchable, broker: Broker, compiled: Compiled, *, key: str, weight: float) -> RunStarted:
    plan = encode_plan(compiled.plan)
    if len(plan) > MAX_PLAN:
        raise DistilmqUserError(
            f"The pipeline takes {len(plan) // 1024**2} MiB without the data of `dataset=` and `LoadDataFromDicts`, and"
            f" at most {MAX_PLAN // 1024**2} MiB travel to a broker. What its steps hold is best loaded in `load()`,"
            " from a place that the workers can read."
        )
    run = f"{folder_name(pipeline.name)}-{secrets.token_hex(4)}"
    with BrokerLine(lambda: connect_to(broker)) as line:
        started = line.start(
            run, plan, key=f"{pipeline.name}/{key}" if key else "", weight=weight, send_data=_sender(compiled)
        )
        if compiled.files and not started.attached and not started.data:
            line.control(started.run, "kill")
            raise DistilmqUserError(
                "The broker is of an earlier version, which takes no data beside a plan: update it, or load the data"
                " from a place that the workers can read."
            )
    return started


def _sender(compiled: Compiled) -> Callable[[Send, Sequence[str]], None]:
    """Sends those of the data files that a broker wants."""
    known = {file.digest: file for step in compiled.plan.steps for file in step.data}

    def send_data(send: Send, wanted: Sequence[str]) -> None:
        size = sum(known[digest].size for digest in wanted)
        say(f"Sending {size // 1024**2:,} MiB of data to the broker.")
        for digest in wanted:
            upload(compiled.files[digest], known[digest], send)

    return send_data


@contextmanager
def _folder_for_data(cache_dir: Path) -> Generator[Path]:
    """On the disk that has room for runs; what is put there is gone in the end."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".submitted-", dir=cache_dir) as folder:
        yield Path(folder)


def run_at_broker(
    pipeline: Launchable, broker: Broker, options: RunOptions, keep: Callable[[LastRun], None], *, new: bool
) -> Distiset:
    """As `submit`, follows the run to its end on the screen, and fetches its dataset.

    Args:
        pipeline: to run.
        broker: where.
        options: as of `run`.
        keep: gets what is left of the run when it is over.
        new: start a run even if one of the same pipeline is unfinished.

    Raises:
        KeyboardInterrupt: Ctrl+C; the run goes on without us.
        SystemExit: SIGTERM or SIGHUP; likewise.
        RunError: it failed.
    """
    with Interrupts() as interrupts:
        run = submit(pipeline, broker, options, new=new)
        say(f"{'Following' if run.attached else 'Submitted'} run '{run.id}'.")
        _follow_to_the_end(pipeline.name, run, interrupts, keep)
    return run.distiset()


def retry_at_broker(name: str, run: SubmittedRun, only: FailureFilter, keep: Callable[[LastRun], None]) -> LastRun:
    """Has failed rows of a run computed again, and follows that to its end on the screen.

    Args:
        name: of the pipeline.
        run: that is over.
        only: which failed rows.
        keep: gets what is left of the revision when it is over.

    Returns:
        What is left of the revision.

    Raises:
        DistilmqUserError: no such row failed.
        KeyboardInterrupt: Ctrl+C; the revision goes on without us.
        SystemExit: SIGTERM or SIGHUP; likewise.
        RunError: it failed.
    """
    with Interrupts() as interrupts:
        revision = run.revise(only)
        say(f"{'Following' if revision.attached else 'Submitted'} run '{revision.id}', a revision of '{run.id}'.")
        return _follow_to_the_end(name, revision, interrupts, keep)


def _follow_to_the_end(
    name: str, run: SubmittedRun, interrupts: Interrupts, keep: Callable[[LastRun], None]
) -> LastRun:
    def left(outcome: Literal["done", "stopped", "failed"]) -> LastRun:
        last_run = run.last_run(outcome, lambda only: retry_at_broker(name, run, only, keep))
        keep(last_run)
        return last_run

    try:
        return left(_follow(name, run, interrupts))
    except RunError:
        left("failed")
        raise


def _follow(name: str, run: SubmittedRun, interrupts: Interrupts) -> Literal["done", "stopped"]:
    view = open_view(name, run.id)
    try:
        with interrupts.held():
            outcome = run.follow(view, tuple(interrupts.files), lambda: _leave(run, interrupts))
    finally:
        view.close()
    if view.last is not None and (said := failures(view.last)):
        say(said)
    if outcome == "stopped":
        say(f"The run was stopped. `distilmq runs resume {run.id}` goes on with it.")
    return outcome


def _leave(run: SubmittedRun, interrupts: Interrupts) -> None:
    if interrupts.count:
        say(
            f"Run '{run.id}' goes on at the broker. Run it again to follow it, or stop it with"
            f" `distilmq runs stop {run.id}`."
        )
        raise interrupts.ending()


def attached(broker: Broker, id: str, cache_dir: Path) -> SubmittedRun:
    """A run that another client may have submitted.

    Raises:
        DistilmqUserError: the broker has no such run.
    """
    with BrokerLine(lambda: connect_to(broker)) as line:
        info = line.run(id)
    return SubmittedRun(broker, id, folder=cache_dir / folder_name(info.pipeline), attached=True)


def _compile(pipeline: Launchable, options: RunOptions, prepared: Prepared, inputs: Path) -> Compiled:
    settings = run_settings(os.environ).model_copy(
        update={
            "use_cache": options.use_cache,
            "storage": storage_of(options),
            "max_cost": options.max_cost,
            "max_tokens": None if options.max_tokens is None else int(options.max_tokens),
        }
    )
    compiled = compile_plan(
        prepared.dag,
        name=pipeline.name,
        description=pipeline.description or "",
        signatures=prepared.signatures,
        stages=prepared.stages,
        settings=settings,
        inputs=inputs,
        travels=DatasetSpec(
            columns={leaf: tuple(prepared.columns.get(leaf, ())) for leaf in prepared.dag.graph.leaves},
            features=encoded_features(prepared.features),
            enable_metadata=pipeline.enable_metadata,
        ),
    )
    # Rows that go in files are not to travel a second time.
    apart = [step.name for step in compiled.plan.steps if step.data]
    dataset = compiled.plan.dataset.model_copy(update={"config": _config(pipeline, prepared, apart)})
    return replace(compiled, plan=compiled.plan.model_copy(update={"dataset": dataset}))


def _config(pipeline: Launchable, prepared: Prepared, without_rows: Sequence[str]) -> str:
    """`pipeline.yaml`; empty for a pipeline that cannot be dumped, which runs all the same."""
    try:
        dump = serialization.dump_dag(
            prepared.dag,
            name=pipeline.name,
            description=pipeline.description,
            requirements=pipeline.requirements,
            without_rows=without_rows,
        )
    except DistilmqUserError:
        return ""
    return to_yaml(dump)
