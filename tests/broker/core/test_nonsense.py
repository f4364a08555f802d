"""No event raises in the core, whatever a peer says, and no nonsense keeps a run from its end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from distilmq.protocol.messages import ErrorInfo, JobRequest, Lease, Lend, Loan
from distilmq_broker.core import events
from tests.broker.core.behaviour import Behaviour
from tests.broker.core.scene import generator, plan_of, step
from tests.broker.core.worker import MISSING
from tests.broker.core.world import Faults, World
from tests.reference import Reference

ERROR = ErrorInfo(type="E", message="no")
SESSIONS = st.sampled_from(["session-1", "session-2", "session-3", "stranger", "supervisor", ""])
STEPS = st.sampled_from(["load", "a", "b", "join", "nobody", ""])
NUMBERS = st.lists(st.integers(-2, 5), max_size=4).map(tuple)
LEASES = st.builds(Lease, step=STEPS, seq_no=NUMBERS, part=st.integers(-1, 5), attempt=st.integers(-1, 3))
COUNTS = ("occurrence", "number", "tries")
HELD = st.lists(LEASES, max_size=3).map(tuple)
HARMLESS = st.one_of(
    st.builds(events.SupervisorJoined, SESSIONS, st.sampled_from(["host", "other"]), st.integers(0, 3)),
    st.builds(events.WorkerReady, SESSIONS, STEPS, st.integers(-1, 70)),
    st.builds(events.BatchesWanted, SESSIONS, st.integers(-1, 2000)),
    st.builds(
        events.LoanAsked,
        SESSIONS,
        st.just(b"a"),
        st.just(Loan(places=4)),
        st.integers(-1, 9),
        st.integers(-1, 9),
        st.none(),
        st.just(0.0),
    ),
    st.builds(events.PartWanted, SESSIONS, LEASES, NUMBERS),
    st.builds(
        events.LoanCame,
        SESSIONS,
        st.just(Lend(account=b"a", loan=Loan(places=4), seconds=5.0, asked=0.0)),
    ),
    st.builds(events.BatchReturned, SESSIONS, LEASES),
    st.builds(
        events.AnswerCame, SESSIONS, LEASES, st.integers(-1, 9), st.binary(max_size=2), st.integers(0, 2), st.none()
    ),
    st.builds(
        events.JobPlanned,
        SESSIONS,
        LEASES,
        st.just("job"),
        st.integers(-1, 9),
        st.lists(
            st.builds(JobRequest, row=st.integers(-1, 9), key=st.just(b"k"), **dict.fromkeys(COUNTS, st.just(0)))
        ).map(tuple),
    ),
    st.builds(events.JobStarted, STEPS, st.just("job"), st.just("id")),
    st.builds(events.JobEnded, STEPS, st.just("job")),
    st.builds(events.WorkerBeat, SESSIONS, HELD),
    st.builds(events.WorkerStalled, SESSIONS, st.just("at work"), st.none() | LEASES),
    st.builds(events.SupervisorBeat, SESSIONS, st.lists(SESSIONS, max_size=3).map(tuple)),
    st.builds(events.Routed, STEPS, NUMBERS, st.just(("nobody", "a"))),
    st.builds(events.Committed, st.integers(-1, 0)),
    st.builds(events.DeadlineReached),
    st.builds(
        events.BatchDone,
        SESSIONS,
        st.builds(Lease, step=STEPS, seq_no=st.just((7, -1))),
        st.integers(-1, 9),
        st.just([]),
    ),
)
HARMFUL = st.one_of(
    st.builds(events.WorkerJoined, SESSIONS, st.just("host"), st.just(()), st.none() | STEPS, st.booleans(), HELD),
    st.builds(events.WorkerExited, SESSIONS, st.integers(-9, 2), st.just(""), st.booleans()),
    st.builds(events.SupervisorExited, st.sampled_from(["host", "other"]), st.just(1)),
    st.builds(events.BatchDone, SESSIONS, LEASES, st.integers(-1, 9), st.just([]), st.booleans()),
    st.builds(events.BatchFailed, SESSIONS, LEASES, st.just(ERROR)),
    st.builds(events.LoadFailed, SESSIONS, STEPS, st.sampled_from([ERROR, MISSING])),
    st.builds(events.RouteFailed, STEPS, NUMBERS, st.just(ERROR)),
    st.builds(events.CommitFailed, st.just("full")),
    st.builds(events.PauseRequested),
    st.builds(events.ResumeRequested),
    st.builds(events.StopRequested, st.floats(0, 5)),
    st.builds(events.KillRequested),
)
PLAN = plan_of(
    generator(size=4),
    step("a", "load", size=3),
    step("b", "load", size=4),
    step("join", "a", "b", size=2),
    routed=["load"],
)
BEHAVIOUR = Behaviour(rows={"load": 22}, sizes={"load": 4}, choices="all")


@settings(max_examples=60, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 12), HARMLESS), max_size=25), st.integers(0, 99))
def test_a_run_that_hears_nonsense_gives_the_same_rows(said: list[tuple[int, events.Event]], seed: int) -> None:
    world = World(PLAN, BEHAVIOUR, seed=seed)
    for steps, event in said:
        for _ in range(steps):
            world.act()
        if world.coordinator.outcome is None:
            world.say(event)

    assert world.run() == "done"
    assert {spec.name: world.values(spec.name) for spec in PLAN.steps} == Reference(
        PLAN, BEHAVIOUR.process, BEHAVIOUR.choose
    ).values


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 8), HARMLESS | HARMFUL), max_size=40), st.integers(0, 99))
def test_no_event_raises(said: list[tuple[int, events.Event]], seed: int) -> None:
    world = World(PLAN, BEHAVIOUR, seed=seed, faults=Faults())
    for steps, event in said:
        for _ in range(steps):
            if world.ended is None:
                world.act()
        world.coordinator.handle(event, world.now)
        world.coordinator.next_deadline()
        world.coordinator.progress(world.now)
