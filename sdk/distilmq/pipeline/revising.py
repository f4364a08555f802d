"""Failed rows are computed again, in a new revision of their run, from what lies in the run's directory.

No script is needed: the plan with its steps is there. Secrets are not: the workers find them in the environment.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distilmq.constants import PIPELINE_CONFIG_FILENAME
from distilmq.errors import DistilmqUserError
from distilmq.pipeline.attached import living
from distilmq.pipeline.client import Client
from distilmq.pipeline.compile import Compiled
from distilmq.pipeline.dead_letters import readable
from distilmq.pipeline.interrupt import Interrupts
from distilmq.pipeline.local import free_run_dir, latest_run_dir
from distilmq.pipeline.logs import run_logging
from distilmq.pipeline.meant_rows import MeantRows
from distilmq.pipeline.run import LocalRun, Outcome, Place, reopened
from distilmq.protocol.failure_filter import FailureFilter
from distilmq.protocol.plan import Plan, Revision, decode_plan

_ARTIFACTS = "artifacts"


@dataclass(frozen=True, slots=True)
class Revised:
    """A run after its failed rows were computed again."""

    place: Place
    outcome: Outcome
    again: int
    """How many failed rows were computed again; 0 where a revision that had not come to its end went on."""
    failures: list[dict[str, Any]] = field(repr=False)
    """The dead letters that it has."""


def revise(directory: Path, only: FailureFilter, *, secrets: Mapping[str, Mapping[str, str]] | None = None) -> Revised:
    """Computes failed rows of a run again, and what was made from them; the run itself stays as it is.

    Args:
        directory: of the run.
        only: which failed rows.
        secrets: of the steps, where they are known; else they come from the environment.

    Raises:
        DistilmqUserError: no such row failed, or the run is still at work.
        KeyboardInterrupt: the revision was stopped; it goes on when it is revised, or its script is run.
        RunError: the revision failed.
    """
    if living(directory) is not None:
        raise DistilmqUserError(f"The run in {directory} is still at work: wait for its end, or stop it by Ctrl+C.")
    place = Place(directory, directory.parent.parent)
    plan = decode_plan((directory / "plan.msgpack").read_bytes())
    letters, outcome = reopened(place, lambda client: (_failures_of(client), _outcome_of(client)))
    meant = MeantRows(letters, only, {step.name: step.kind for step in plan.steps})
    if meant.rows:
        revision, plan = _new_place(place), _revising(plan, directory, only)
        _take_along(directory, revision.directory)
    elif plan.settings.revises is not None and outcome != "done":
        revision = place  # that revision did not come to its end: it goes on
    else:
        raise DistilmqUserError(meant.why_none())
    with run_logging([], plan.settings.log_level), Interrupts() as interrupts:
        compiled = Compiled(plan, {step: dict(values) for step, values in (secrets or {}).items()})
        run = LocalRun(compiled, revision, _failures_of)
        failures = run.execute(interrupts)
    return Revised(revision, run.outcome, len(meant.rows), failures)


def _failures_of(client: Client) -> list[dict[str, Any]]:
    return readable(client.failures())


def _outcome_of(client: Client) -> str:
    return client.finished.outcome if client.finished is not None else "stopped"


def _new_place(place: Place) -> Place:
    run_id, _, number = place.directory.name.rpartition("-")
    family = run_id if run_id and number.isdecimal() else place.directory.name
    latest = latest_run_dir(place.directory.parent, family)
    count = latest.name.rpartition("-")[2] if latest.name != family else "1"
    directory = free_run_dir(place.directory.parent, family, first=int(count) + 1)
    return Place(directory, place.cache_dir)


def _take_along(source: Path, target: Path) -> None:
    """What steps have saved, and the pipeline's own description, belong to the revision's dataset as well."""
    if (source / _ARTIFACTS).is_dir():
        shutil.copytree(source / _ARTIFACTS, target / _ARTIFACTS)
    if (source / PIPELINE_CONFIG_FILENAME).is_file():
        shutil.copy2(source / PIPELINE_CONFIG_FILENAME, target / PIPELINE_CONFIG_FILENAME)


def _revising(plan: Plan, directory: Path, only: FailureFilter) -> Plan:
    changes = {"revises": Revision(of=str(directory), only=only), "read_only": False}
    settings = plan.settings.model_copy(update=changes)
    # The script's interpreter may have been another one: modules are looked for where ours finds them, too.
    path = tuple(dict.fromkeys([*plan.client_path, *(entry for entry in sys.path if entry)]))
    return plan.model_copy(update={"settings": settings, "client_path": path})
