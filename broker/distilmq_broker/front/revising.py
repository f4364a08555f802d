"""A run from another one that is over: its failed rows are computed again, and all else is taken over."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from distilmq.errors import JournalError
from distilmq.protocol.failure_filter import FailureFilter
from distilmq.protocol.plan import Plan, Revision
from distilmq_broker.front.core.records import RunRecord
from distilmq_broker.run_files import PARTIAL
from distilmq_broker.run_folder import RunFolder


def key_of(run: str, only: FailureFilter) -> str:
    """What makes two revisions the same: who asks for one that is under way is led to it."""
    return f"/{run}/{only.model_dump_json()}"


def record_of(before: RunRecord, run: str, key: str, submitted: float) -> RunRecord:
    """The record of the run that revises another one; nobody who submits the pipeline again is led to it.

    Args:
        before: of the other one.
        run: the id of the new one.
        key: see `key_of`.
        submitted: seconds since the epoch.
    """
    return RunRecord(
        run=run,
        key=key,
        pipeline=before.pipeline,
        submitted=submitted,
        weight=before.weight,
        leaves=before.leaves,
        variables=before.variables,
    )


def plan_of(source: RunFolder, only: FailureFilter) -> Plan:
    """The plan of a run that revises another one.

    Args:
        source: the folder of the other one.
        only: which of its failed rows are computed again.

    Raises:
        JournalError: the other one's plan cannot be read.
    """
    plan = source.stored_plan()
    if plan is None:
        raise JournalError(f"{source.plan_file} is gone")
    revises = Revision(of=str(source.path), only=only)
    return plan.model_copy(update={"settings": plan.settings.model_copy(update={"revises": revises})})


def take_along(source: RunFolder, target: RunFolder) -> None:
    """Its steps' data, and what they have saved, belong to the new run as well.

    Raises:
        OSError: they cannot be read or written.
    """
    for here, there in ((source.data, target.data), (source.artifacts, target.artifacts)):
        if here.is_dir():
            _copy(here, there)


def _copy(here: Path, there: Path) -> None:
    """By hard links, where there can be some: a file is put in the place of another one, and never changed."""
    shutil.rmtree(there, ignore_errors=True)  # of a start that was not finished
    try:
        shutil.copytree(here, there, copy_function=_link, ignore=shutil.ignore_patterns(f"*{PARTIAL}"))
    except shutil.Error as error:
        raise OSError(errno.EIO, str(error)) from error


def _link(here: str, there: str) -> None:
    try:
        Path(there).hardlink_to(here)
    except OSError:
        shutil.copy2(here, there)
