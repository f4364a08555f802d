"""What `run` and `dry_run` do, from the arguments to the Distiset."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from distilmq.constants import PIPELINE_CONFIG_FILENAME
from distilmq.errors import DistilmqUserError, RunError
from distilmq.pipeline import serialization
from distilmq.pipeline.budget import check_prices
from distilmq.pipeline.compile import Compiled, compile_plan
from distilmq.pipeline.dag import Dag
from distilmq.pipeline.dead_letters import readable
from distilmq.pipeline.estimate import Estimate, estimate
from distilmq.pipeline.interrupt import Interrupts
from distilmq.pipeline.keys import check_keys
from distilmq.pipeline.last_run import LastRun
from distilmq.pipeline.local import free_run_dir, latest_run_dir
from distilmq.pipeline.logs import run_logging
from distilmq.pipeline.prepare import Prepared, RunOptions, prepare, storage_of
from distilmq.pipeline.requirements import check_requirements
from distilmq.pipeline.revising import revise
from distilmq.pipeline.run import LocalRun, Outcome, Place, Reading, read_distiset, reopened, say
from distilmq.pipeline.settings import run_settings
from distilmq.pipeline.usage import RunUsage, run_usage
from distilmq.protocol.failure_filter import FailureFilter
from distilmq.protocol.plan import Plan, RunSettings
from distilmq.utils.files import write_yaml

if TYPE_CHECKING:
    from distilmq.distiset import Distiset

_LONGEST_NAME = 100

Secrets = Mapping[str, Mapping[str, str]]
"""Step to dotted field to value."""

_log = logging.getLogger("distilmq.pipeline")


class Launchable(Protocol):
    """What a run needs to know of a pipeline."""

    description: str | None
    cache_dir: Path
    enable_metadata: bool
    dag: Dag

    @property
    def name(self) -> str:
        """Of the pipeline."""
        ...

    @property
    def requirements(self) -> list[str]:
        """The packages that it needs."""
        ...


def launch(pipeline: Launchable, options: RunOptions, keep: Callable[[LastRun], None]) -> Distiset:
    """Runs a pipeline; `keep` gets what is left of the run, however it ends.

    Raises:
        DistilmqUserError: the pipeline or an argument is wrong.
        ModuleNotFoundError: a package that the pipeline needs is missing.
        KeyboardInterrupt: the run was stopped.
        RunError: the run failed.
    """
    settings = run_settings(os.environ)
    with run_logging(options.logging_handlers, settings.log_level), Interrupts() as interrupts:
        prepared = prepare(pipeline.dag, options)
        check_requirements(pipeline.requirements)
        takes_from_others = options.use_cache and options.dry_run is None
        check_keys(prepared.dag, prepared.signatures, pipeline.cache_dir if takes_from_others else None)
        if options.max_cost is not None:
            check_prices(prepared.dag)
        place = _place(pipeline, options, prepared)
        try:
            compiled = _compile(pipeline, options, prepared, place, settings)
            reading = Reading(
                leaves=compiled.plan.leaves,
                features=prepared.features,
                columns={leaf: prepared.columns.get(leaf, []) for leaf in compiled.plan.leaves},
                enable_metadata=pipeline.enable_metadata,
            )
            run = LocalRun(
                compiled,
                place,
                lambda client: read_distiset(client, reading, place),
                meanwhile=lambda: _keep_config(pipeline, prepared, place.directory),
            )
            expect = _expectation(compiled.plan, prepared.dag, options) if options.dry_run is not None else None
            left = Left(place, run.steps, reading, keep, compiled.secrets)
            return _run(run, interrupts, left, expect)
        finally:
            if place.temporary:
                shutil.rmtree(place.directory.parent, ignore_errors=True)


def try_out(pipeline: Launchable, options: RunOptions) -> Estimate:
    """What a run will take, by a dry run of some rows; raises as `launch` does."""
    kept: list[LastRun] = []
    launch(pipeline, options, kept.append)
    found = kept[-1].estimate
    if found is None:
        raise RunError("The rows that were tried do not say what a run will take.")
    return found


def _run(
    run: LocalRun[Distiset],
    interrupts: Interrupts,
    left: Left,
    expect: Callable[[LocalRun[Distiset]], Estimate | None] | None,
) -> Distiset:
    distiset: Distiset | None = None
    expected: Estimate | None = None
    try:
        distiset = run.execute(interrupts)
        expected = expect(run) if expect is not None else None
        return distiset
    finally:
        failures = None if run.failures is None else readable(run.failures)
        left.keep(left.last_run(run.outcome, distiset=distiset, failures=failures, usage=run.usage, expected=expected))


def _expectation(plan: Plan, dag: Dag, options: RunOptions) -> Callable[[LocalRun[Distiset]], Estimate | None]:
    """Makes the estimate once the run has tried some rows, and says it where models were asked."""
    known = {generator.name: generator.num_rows() for generator in dag.generators}
    unknown = [name for name, rows in known.items() if rows is None]
    if options.estimating and options.estimate_rows is None and unknown:
        raise DistilmqUserError(f"Nobody knows how many rows step '{unknown[0]}' will give: say `estimate(rows=...)`.")
    at_once = {name: _requests_at_once(dag, name) for name in dag}

    def expect(run: LocalRun[Distiset]) -> Estimate | None:
        if run.last_progress is None or run.usage is None:
            return None
        given = {step.step: step.rows for step in run.last_progress.steps if step.kind == "generator"}
        found = estimate(plan, run.usage, given=given, known=known, rows=options.estimate_rows, at_once=at_once)
        if found.steps and not options.estimating:
            say(str(found))
        return found

    return expect


def _requests_at_once(dag: Dag, step: str) -> int:
    llm = getattr(dag.steps[step], "llm", None)
    return (dag.steps[step].resources.replicas or 1) * getattr(llm, "requests_at_once", 1)


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a run, and of the revisions of it."""

    place: Place
    steps: list[str]
    reading: Reading
    keep: Callable[[LastRun], None]
    secrets: Secrets = field(repr=False)

    def last_run(
        self,
        outcome: Outcome,
        *,
        distiset: Distiset | None = None,
        failures: list[dict[str, Any]] | None = None,
        usage: RunUsage | None = None,
        expected: Estimate | None = None,
    ) -> LastRun:
        """The user's view; what is not known yet is read when it is asked for."""
        return LastRun(
            self.place.directory,
            outcome,
            lambda: distiset if distiset is not None else self._distiset(),
            lambda: failures if failures is not None else self._failures(),
            lambda: usage if usage is not None else self._usage(),
            self.retry,
            expected,
        )

    def _distiset(self) -> Distiset:
        _check_there(self.place)
        return reopened(self.place, lambda client: read_distiset(client, self.reading, self.place))

    def _failures(self) -> list[dict[str, Any]]:
        _check_there(self.place)
        return readable(reopened(self.place, lambda client: client.failures()))

    def _usage(self) -> RunUsage:
        _check_there(self.place)
        return run_usage(reopened(self.place, lambda client: client.usage()), self.steps)

    def retry(self, only: FailureFilter) -> LastRun:
        """Computes failed rows again, on this machine."""
        _check_there(self.place)
        revised = revise(self.place.directory, only, secrets=self.secrets)
        left = Left(revised.place, self.steps, self.reading, self.keep, self.secrets)
        last_run = left.last_run(revised.outcome, failures=revised.failures)
        self.keep(last_run)
        return last_run


def _check_there(place: Place) -> None:
    if not (place.directory / "plan.msgpack").exists():
        raise RunError(f"Nothing is left of the run in {place.directory}: it was a dry run, or ended before it began.")


def _place(pipeline: Launchable, options: RunOptions, prepared: Prepared) -> Place:
    if options.dry_run is not None:
        folder = Path(tempfile.mkdtemp(prefix="distilmq-dry-run-"))
        return Place(folder / "run", folder / "cache", temporary=True)
    pipeline_dir = pipeline.cache_dir / folder_name(pipeline.name)
    pipeline_dir.mkdir(parents=True, exist_ok=True)
    choose = latest_run_dir if options.use_cache else free_run_dir
    return Place(choose(pipeline_dir, prepared.run_id), pipeline.cache_dir)


def folder_name(name: str) -> str:
    """A folder's name for any pipeline's name; other names never share it."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:_LONGEST_NAME].lstrip(".-")
    if safe == name and safe:
        return safe
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _compile(
    pipeline: Launchable, options: RunOptions, prepared: Prepared, place: Place, settings: RunSettings
) -> Compiled:
    dry = options.dry_run is not None
    return compile_plan(
        prepared.dag,
        name=pipeline.name,
        description=pipeline.description or "",
        signatures=prepared.signatures,
        stages=prepared.stages,
        settings=settings.model_copy(
            update={
                "use_cache": options.use_cache and not dry,
                "dry_run": dry,
                "storage": storage_of(options, str(place.directory / "batch_input_data")),
                "max_cost": options.max_cost,
                "max_tokens": None if options.max_tokens is None else int(options.max_tokens),
            }
        ),
        inputs=place.directory / "inputs",
        max_batches=1 if dry else None,
    )


def _keep_config(pipeline: Launchable, prepared: Prepared, directory: Path) -> None:
    """Writes the pipeline as it is run beside its journal; one that cannot be dumped runs without."""
    try:
        dump = serialization.dump_dag(
            prepared.dag, name=pipeline.name, description=pipeline.description, requirements=pipeline.requirements
        )
        write_yaml(directory / PIPELINE_CONFIG_FILENAME, dump)
    except (DistilmqUserError, OSError) as error:
        _log.warning("%s is not kept with the dataset: %s", PIPELINE_CONFIG_FILENAME, error)
