"""The state of the run, as a watching client sees it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from distilmq.protocol import messages
from distilmq_broker.core.attendance import Attendance
from distilmq_broker.core.ending import Ending
from distilmq_broker.core.run import Mode, Run
from distilmq_broker.core.steps import StepState

_State = Literal["waiting", "loading", "running", "stalled", "done", "failed", "reused"]


def progress(run: Run, ending: Ending, attendance: Attendance, name: str, now: float) -> messages.Progress:
    """What is done and what is left, per step."""
    return messages.Progress(
        run=name,
        state=_state(run, ending, attendance),
        stage=min(run.stages.current, run.stages.count - 1),
        stages=run.stages.count,
        stop_in=None if ending.deadline is None or ending.outcome else max(0.0, ending.deadline - now),
        waiting_for=0 if ending.outcome else ending.in_flight(),
        reason=run.fault or run.held_up or (f"{ending.budget} is reached" if ending.budget else ""),
        resumable=run.fault is None and run.held_up is not None,
        steps=tuple(_step(run, state, ending, now) for state in run.flow.steps),
    )


def _state(
    run: Run, ending: Ending, attendance: Attendance
) -> Literal["starting", "running", "draining", "paused", "done", "stopped", "failed"]:
    if ending.outcome is not None:
        return "done" if ending.outcome == "done" else "failed" if ending.outcome == "failed" else "stopped"
    if run.mode is Mode.DRAINING:
        return "draining"
    if run.held_up is not None or run.fault is not None:
        return "paused"
    return "running" if attendance.ever_ready else "starting"


def _step(run: Run, state: StepState, ending: Ending, now: float) -> messages.StepProgress:
    counts, spec, usage = state.counts, state.place.spec, run.spending.of_step(state.name)
    return messages.StepProgress(
        step=state.name,
        kind=spec.kind,
        stage=state.place.stage,
        state=_step_state(run, state, ending, now),
        batches=counts.batches,
        known_batches=counts.batches + _batches_left(run, state),
        rows=counts.rows,
        rows_in=counts.rows_in,
        known_rows=_known_rows(run, state),
        failed_rows=counts.failed_rows,
        replicas=state.place.replicas,
        ready=0 if ending.outcome else sum(session.ready for session in state.sessions),
        note=", ".join(_remarks(run, state)),
        jobs=len(state.jobs),
        models=spec.models or bool(usage.requests),
        requests=usage.requests,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        input_untold=usage.input_untold,
        output_untold=usage.output_untold,
        cost=usage.known_cost,
    )


def _remarks(run: Run, state: StepState) -> Iterator[str]:
    if run.mode is not Mode.OVER and (missing := run.secrets_missing.get(state.name)):
        who = "new processes wait" if state.sessions else "waits"
        how = "Retry from its script instead" if run.plan.settings.revises is not None else "Run its script again"
        yield f"{who} for a secret: {', '.join(missing)}. {how}, or keep it at the broker"
    if state.counts.nowhere:
        yield f"{state.counts.nowhere} batch(es) routed to no step"
    if state.jobs:
        yield f"{len(state.jobs)} batch job(s) at the provider"


def _step_state(run: Run, state: StepState, ending: Ending, now: float) -> _State:
    if state.finished:
        return "done"
    if ending.outcome == "failed" and ending.step == state.name:
        return "failed"
    if ending.outcome is not None or not run.stages.loaded(state):
        return "waiting"
    if state.name in run.secrets_missing and not state.sessions:
        return "waiting"
    if not any(session.ready for session in state.sessions):
        return "loading"
    after = state.place.spec.stall_after
    if any(session.held and now - session.since > after for session in state.sessions):
        return "stalled"
    return "running"


def _batches_left(run: Run, state: StepState) -> int:
    """Batches that are still to be done, as far as that is known."""
    if state.finished:
        return 0
    known, size = _known_rows(run, state), max(1, state.place.spec.size)
    if state.source is not None and known is not None:
        # What it was asked for beyond its last row is none.
        return math.ceil(max(0, known - state.counts.rows) / size)
    there = len(state.leases.pending) + math.ceil(state.buffer.rows / size)
    if known is None or state.place.manner == "everything":
        return there
    return max(there, math.ceil(max(0, known - state.counts.rows_in) / size))


def _known_rows(run: Run, state: StepState) -> int | None:
    """Rows that will go in (of a generator: come out), where that is known."""
    if state.source is not None:
        if state.finished:
            return state.counts.rows
        return state.place.spec.known_rows
    before = [run.flow.steps[index] for index in state.place.predecessors]
    if len(before) == 1 and not before[0].place.routed:
        return before[0].counts.rows if before[0].finished else _known_rows(run, before[0])
    return None
