"""The rows of a large batch come in parts: whatever is lost, doubled, late or begun anew, the batch is whole."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from distilmq.protocol import messages as m
from distilmq.protocol.rows import encode_rows, join_bodies
from distilmq_workers import events
from distilmq_workers.commands import RunBatch, Say
from distilmq_workers.gathering import ASK_AGAIN, ASK_RARELY
from distilmq_workers.session import Session
from tests.workers.test_session import WELCOME, lease, ready_session

SECOND_EPOCH = WELCOME.model_copy(update={"epoch": 2})


class Sender:
    """A coordinator that cuts each input into parts of some bytes; a cursor is the input and the byte."""

    def __init__(self, inputs: list[bytes], rows: list[int], most: int) -> None:
        self.rows = tuple(rows)
        self.inputs = inputs
        self.bodies = [data[len(join_bodies(count, [])) :] for data, count in zip(inputs, rows, strict=True)]
        self._most = most

    def batch(self, number: int = 1, *, attempt: int = 1) -> events.Received:
        names = tuple(f"branch_{place}" for place in range(len(self.inputs)))
        return events.Received(
            m.Batch(lease=lease(number, attempt), inputs=names, rows=self.rows, answers=True, parts=True), [b"\x90"]
        )

    def part(self, asked: m.FetchPart) -> events.Received:
        place, start = asked.cursor or (0, 0)
        body = self.bodies[place]
        behind = (place, start + self._most)
        if behind[1] >= len(body):
            behind = (place + 1, 0) if place + 1 < len(self.bodies) else ()
        part = m.BatchPart(lease=asked.lease, input=place, cursor=asked.cursor, next=behind)
        return events.Received(part, [body[start : start + self._most]])


def sender(*counts: int, most: int = 40) -> Sender:
    inputs = [encode_rows([{"n": n, "branch": place} for n in range(count)]) for place, count in enumerate(counts)]
    return Sender(inputs, list(counts), most)


def asked(commands: Sequence[object]) -> list[m.FetchPart]:
    return [each.message for each in commands if isinstance(each, Say) and isinstance(each.message, m.FetchPart)]


def begun(commands: Sequence[object]) -> list[RunBatch]:
    return [each for each in commands if isinstance(each, RunBatch)]


def test_parts_are_asked_for_one_after_the_other_and_the_batch_begins_with_the_last() -> None:
    session, coordinator = ready_session(), sender(5, 0, 7)

    commands = session.handle(coordinator.batch(), 0.0)
    held, rounds = session.held, 0
    while questions := asked(commands):
        [question] = questions
        assert not begun(commands)
        commands = session.handle(coordinator.part(question), 0.0)
        rounds += 1
    [run] = begun(commands)

    assert held == (lease(1),), "what is on its way is held"
    assert rounds > 3
    assert list(run.payload) == [*coordinator.inputs, b"\x90"]


def test_a_part_that_does_not_come_is_asked_for_again_ever_more_rarely() -> None:
    session, coordinator = ready_session(), sender(5)
    [first] = asked(session.handle(coordinator.batch(), 0.0))

    times: list[float] = []
    now = 0.0
    while now < 200:
        now = max(now, session.next_deadline())
        if questions := asked(session.handle(events.TimePassed(), now)):
            assert questions == [first]
            times.append(now)

    gaps = [after - before for before, after in zip([0.0, *times], times, strict=False)]
    assert gaps[:3] == [ASK_AGAIN, 2 * ASK_AGAIN, 4 * ASK_AGAIN]
    assert max(gaps) == ASK_RARELY


def test_a_part_that_comes_twice_or_late_counts_once() -> None:
    session, coordinator = ready_session(), sender(9)
    [first] = asked(session.handle(coordinator.batch(), 0.0))
    [second] = asked(session.handle(coordinator.part(first), 0.0))

    assert asked(session.handle(coordinator.part(first), 0.0)) == []
    commands = session.handle(coordinator.part(second), 0.0)
    while questions := asked(commands):
        commands = session.handle(coordinator.part(questions[0]), 0.0)

    assert begun(commands)[0].payload[0] == coordinator.inputs[0]


def test_after_a_cut_it_goes_on_and_with_another_coordinator_it_begins_anew() -> None:
    session, coordinator = ready_session(), sender(9)
    [first] = asked(session.handle(coordinator.batch(), 0.0))
    [second] = asked(session.handle(coordinator.part(first), 0.0))

    again = asked(session.handle(events.Received(WELCOME), 0.1))
    anew = asked(session.handle(events.Received(SECOND_EPOCH), 0.2))

    assert again == [second]
    assert anew == [first]


def test_the_next_batch_is_gathered_while_one_is_worked_on() -> None:
    session, coordinator = ready_session(), sender(1, most=10_000)
    commands = session.handle(coordinator.batch(1), 0.0)
    assert begun(session.handle(coordinator.part(asked(commands)[0]), 0.0))

    commands = session.handle(coordinator.batch(2), 0.0)
    session.handle(coordinator.part(asked(commands)[0]), 0.0)
    then = session.handle(events.BatchEnded(m.Result(session="me", lease=lease(1), rows=0), [b"\x90"]), 0.0)

    assert [run.batch.lease for run in begun(then)] == [lease(2)]


def test_batches_stay_in_order_and_one_part_at_a_time_is_on_its_way() -> None:
    session, coordinator = ready_session(), sender(5)
    [first] = asked(session.handle(coordinator.batch(1), 0.0))

    other = session.handle(coordinator.batch(2), 0.0)
    small = session.handle(events.Received(m.Batch(lease=lease(3)), []), 0.0)

    assert asked(other) == asked(small) == []
    assert begun(small) == []
    assert first.lease == lease(1)
    assert session.held == (lease(1), lease(2), lease(3))


def test_a_hand_out_of_what_is_on_its_way_renews_its_lease_only() -> None:
    session, coordinator = ready_session(), sender(9)
    [first] = asked(session.handle(coordinator.batch(), 0.0))
    [second] = asked(session.handle(coordinator.part(first), 0.0))

    assert asked(session.handle(coordinator.batch(attempt=2), 0.0)) == []
    commands = session.handle(coordinator.part(second), 0.0)
    while questions := asked(commands):
        assert questions[0].lease == lease(1, attempt=2)
        commands = session.handle(coordinator.part(questions[0]), 0.0)
    [run] = begun(commands)

    assert run.batch.lease == lease(1, attempt=2)
    assert run.payload[0] == coordinator.inputs[0]


def test_a_hand_out_of_what_is_whole_and_waits_renews_its_lease_only() -> None:
    session, coordinator = ready_session(), sender(2, most=10_000)
    session.handle(events.Received(m.Batch(lease=lease(1)), []), 0.0)
    commands = session.handle(coordinator.batch(2), 0.0)
    session.handle(coordinator.part(asked(commands)[0]), 0.0)

    again = session.handle(coordinator.batch(2, attempt=2), 0.0)
    then = session.handle(events.BatchEnded(m.Result(session="me", lease=lease(1), rows=0), [b"\x90"]), 0.0)

    assert asked(again) == []
    [run] = begun(then)
    assert run.batch.lease == lease(2, attempt=2)
    assert list(run.payload) == [*coordinator.inputs, b"\x90"]


def test_what_is_cancelled_or_given_back_is_asked_for_no_more() -> None:
    session, coordinator = ready_session(), sender(9)
    [first] = asked(session.handle(coordinator.batch(), 0.0))

    session.handle(events.Received(m.Cancel(lease=lease(1))), 0.0)
    assert session.held == ()
    assert asked(session.handle(coordinator.part(first), 0.0)) == []

    session.handle(coordinator.batch(2), 0.0)
    drained = session.handle(events.Received(m.Drain(timeout=60.0)), 0.0)
    assert m.Returned(session="me", lease=lease(2)) in [each.message for each in drained if isinstance(each, Say)]
    assert session.held == ()
    assert asked(session.handle(events.TimePassed(), 1000.0)) == []


def test_a_process_that_is_to_end_asks_for_nothing_and_does_not_wake_for_it() -> None:
    session, coordinator = ready_session(), sender(9)
    session.handle(events.Received(m.Batch(lease=lease(1)), []), 0.0)
    session.handle(coordinator.batch(2), 0.0)

    session.handle(events.TerminateAsked(), 0.0)

    beat = session.next_deadline()
    assert asked(session.handle(events.TimePassed(), beat)) == []
    later = session.next_deadline()
    assert asked(session.handle(events.TimePassed(), max(later, ASK_AGAIN))) == []
    assert session.next_deadline() > ASK_AGAIN


@settings(max_examples=150, deadline=None)
@given(
    counts=st.lists(st.integers(0, 8), min_size=1, max_size=3),
    most=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_whatever_happens_on_the_way_the_batch_is_whole(counts: list[int], most: int, seed: int) -> None:
    random, coordinator, session = Random(seed), sender(*counts, most=most), ready_session()
    epoch, now, runs, waiting, troubles = 1, 0.0, [], [], 30
    commands = session.handle(coordinator.batch(), now)
    for _ in range(5000):
        runs += begun(commands)
        if runs:
            break
        waiting += [coordinator.part(question) for question in asked(commands)]
        trouble = random.random() if troubles else 1.0
        troubles -= trouble < 0.5
        if trouble < 0.1:
            commands = _elapse(session, now := now + 1.0)
            waiting.clear()
        elif trouble < 0.2 and waiting:
            commands = session.handle(random.choice(waiting), now)
        elif trouble < 0.3:
            waiting.clear()
            epoch += random.random() < 0.5
            commands = session.handle(events.Received(WELCOME.model_copy(update={"epoch": epoch})), now)
        elif trouble < 0.4:
            commands = session.handle(coordinator.batch(attempt=31 - troubles), now)
        elif waiting:
            commands = session.handle(waiting.pop(random.randrange(len(waiting))), now)
        else:
            commands = _elapse(session, now := max(now, session.next_deadline()))

    [run] = runs
    assert list(run.payload) == [*coordinator.inputs, b"\x90"]


def _elapse(session: Session, now: float) -> Sequence[object]:
    return [*session.handle(events.TimePassed(), now)]
