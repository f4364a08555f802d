"""What always holds of the core's state, whatever happened."""

from __future__ import annotations

from collections.abc import Collection

from distilmq_broker.core.coordinator import Coordinator
from distilmq_broker.core.steps import StepState

Key = tuple[str, tuple[int, ...], int]


def check_invariants(coordinator: Coordinator, recorded: Collection[Key]) -> None:
    """Raises AssertionError where the state contradicts itself; `recorded` is what was given out to be recorded."""
    run = coordinator.run
    for session in run.workers.sessions.values():
        assert session.room >= 0
        assert all(work.holder == session.id for work in session.held.values())
        if session.step is None:
            assert not session.held
        else:
            listed = session in run.flow.steps[session.step].sessions
            assert listed != session.stopping
    for state in run.flow.steps:
        _check_step(coordinator, state, recorded)


def _check_step(coordinator: Coordinator, state: StepState, recorded: Collection[Key]) -> None:
    run = coordinator.run
    works = list(state.leases.pending.values())
    for work in works:
        key = (state.name, *work.key)
        assert key not in recorded, f"{key} is both recorded and to be done"
        if work.holder is not None:
            assert run.workers.sessions[work.holder].held.get(work.key) is work
    assert state.leases.leased == sum(work.holder is not None for work in works)
    assert state.leases.ready_rows == sum(work.cut.rows for work in works if work.holder is None)
    assert state.buffer.rows >= 0
    assert len(state.sessions) <= state.place.replicas
    assert len({session.replica for session in state.sessions}) == len(state.sessions)
    if state.source is not None:
        assert state.source.recorded <= state.source.asked
        assert len(works) == state.source.asked - state.source.recorded
    if state.finished:
        assert not works
        assert not state.buffer.rows
        assert not state.unrouted.chunks
        assert not state.parts.halved
