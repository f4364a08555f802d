"""What `run` and `dry_run` do, from the arguments to the Distiset."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from distilmq.constants import PIPELINE_CONFIG_FILENAME
from distilmq.errors import DistilmqUserError, RunError
from distilmq.pipeline import serialization
from distilmq.pipeline.compile import Compiled, compile_plan
from distilmq.pipeline.dag import Dag
from distilmq.pipeline.dead_letters import readable
from distilmq.pipeline.interrupt import Interrupts
from distilmq.pipeline.last_run import LastRun
from distilmq.pipeline.local import free_run_dir, latest_run_dir
from distilmq.pipeline.logs import run_logging
from distilmq.pipeline.prepare import Prepared, RunOptions, prepare
from distilmq.pipeline.requirements import check_requirements
from distilmq.pipeline.run import LocalRun, Place, Reading, read_distiset, reopened
from distilmq.pipeline.settings import run_settings
from distilmq.protocol.plan import RunSettings
from distilmq.utils.files import write_yaml

if TYPE_CHECKING:
    from distilmq.distiset import Distiset

_LONGEST_NAME = 100

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
                compiled, place, reading, meanwhile=lambda: _keep_config(pipeline, prepared, place.directory)
            )
            return _run(run, place, reading, interrupts, keep)
        finally:
            if place.temporary:
                shutil.rmtree(place.directory.parent, ignore_errors=True)


def _run(
    run: LocalRun, place: Place, reading: Reading, interrupts: Interrupts, keep: Callable[[LastRun], None]
) -> Distiset:
    distiset: Distiset | None = None
    try:
        distiset = run.execute(interrupts)
        return distiset
    finally:
        keep(_last_run(run, place, reading, distiset))


def _last_run(run: LocalRun, place: Place, reading: Reading, distiset: Distiset | None) -> LastRun:
    def open_distiset() -> Distiset:
        if distiset is not None:
            return distiset
        _check_there(place)
        return reopened(place, lambda client: read_distiset(client, reading, place))

    def read_failures() -> list[dict[str, Any]]:
        if run.failures is not None:
            return readable(run.failures)
        _check_there(place)
        return readable(reopened(place, lambda client: client.failures()))

    return LastRun(place.directory, run.outcome, open_distiset, read_failures)


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
        settings=settings.model_copy(update={"use_cache": options.use_cache and not dry, "dry_run": dry}),
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
