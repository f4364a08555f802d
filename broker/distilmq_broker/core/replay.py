"""Rebuilds the state of a run from the facts of its journal, in whatever order they are replayed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.chunks import Chunk, Cut
from distilmq_broker.core.facts import (
    AnswerRecorded,
    BatchHalved,
    BatchRecorded,
    DeathCounted,
    Fact,
    JobEnded,
    JobPlanned,
    JobStarted,
    LimitLearnt,
    RouteRecorded,
    RowsBuried,
    Slice,
    Span,
    UsageRecorded,
)
from distilmq_broker.core.flow import Flow
from distilmq_broker.core.leases import Key, Work
from distilmq_broker.core.parts import leaves, rebuilt
from distilmq_broker.core.sources import Source, ordinal
from distilmq_broker.core.spans import of_input, of_output
from distilmq_broker.core.steps import StepState

Inputs = tuple[tuple[Slice, ...], ...]


@dataclass(slots=True)
class _Story:
    """What the journal tells of one step."""

    done: dict[Key, BatchRecorded | RowsBuried] = field(default_factory=lambda: dict[Key, BatchRecorded | RowsBuried]())
    halved: dict[SeqNo, dict[int, BatchHalved]] = field(default_factory=lambda: dict[SeqNo, dict[int, BatchHalved]]())
    deaths: dict[Key, int] = field(default_factory=lambda: dict[Key, int]())
    jobs: dict[str, str] = field(default_factory=lambda: dict[str, str]())
    routes: dict[SeqNo, tuple[str, ...]] = field(default_factory=lambda: dict[SeqNo, tuple[str, ...]]())


def replay(flow: Flow, facts: Iterable[Fact]) -> None:
    """Brings a fresh flow to where the facts end."""
    stories = [_Story() for _ in flow.steps]
    for fact in facts:
        state = None if isinstance(fact, LimitLearnt) else flow.step(fact.step)
        if state is not None:
            _note(stories[state.place.index], fact)
    for state, story in zip(flow.steps, stories, strict=True):
        # Before any row goes into a buffer it must know which ones are taken.
        for (seq_no, part), fact in story.done.items():
            if part == 0:
                state.buffer.forget(seq_no, fact.inputs, _taken(fact))
        for seq_no, halves in story.halved.items():
            if 0 in halves:
                state.buffer.forget(seq_no, halves[0].inputs, rebuilt(seq_no, halves[0].inputs, ()).rows)
    chunks: dict[tuple[str, SeqNo], Chunk] = {}
    for state, story in zip(flow.steps, stories, strict=True):
        _Replayer(flow, state, story, chunks).replay()


def _note(story: _Story, fact: Fact) -> None:
    match fact:
        case BatchRecorded() | RowsBuried():
            story.done[fact.seq_no, fact.part] = fact
        case BatchHalved():
            story.halved.setdefault(fact.seq_no, {})[fact.part] = fact
        case DeathCounted():
            key = (fact.seq_no, fact.part)
            story.deaths[key] = max(fact.deaths, story.deaths.get(key, 0))
        case RouteRecorded():
            story.routes[fact.seq_no] = fact.successors
        case JobStarted():
            story.jobs[fact.job] = fact.id
        case JobEnded():
            story.jobs.pop(fact.job, None)
        case AnswerRecorded() | UsageRecorded() | LimitLearnt() | JobPlanned():
            pass


def _taken(fact: BatchRecorded | RowsBuried) -> int:
    return fact.taken if isinstance(fact, BatchRecorded) else 1


class _Replayer:
    """One step; its predecessors are replayed already."""

    def __init__(self, flow: Flow, state: StepState, story: _Story, chunks: dict[tuple[str, SeqNo], Chunk]) -> None:
        self._flow = flow
        self._state = state
        self._story = story
        self._chunks = chunks
        self._forks = tuple(flow.steps[fork].name for fork in state.place.labels)
        self._labelled = any(other.place.labels for other in flow.steps)

    def replay(self) -> None:
        self._state.chosen.update(self._story.routes)
        self._state.jobs.update(self._story.jobs)
        if self._state.source is not None:
            self._replay_source(self._state.source)
            return
        self._state.deaths.update(self._story.deaths)
        numbers = [seq_no for seq_no, part in self._story.done if part == 0]
        for seq_no in sorted([*numbers, *(number for number, halves in self._story.halved.items() if 0 in halves)]):
            fact = self._story.done.get((seq_no, 0))
            if fact is None:
                self._replay_halved(seq_no, self._story.halved[seq_no])
            else:
                self._count(fact)
                rows = fact.rows if isinstance(fact, BatchRecorded) else 1
                self._deliver(seq_no, rows, fact)

    def _replay_source(self, source: Source) -> None:
        facts = {
            ordinal(seq_no): fact
            for (seq_no, part), fact in self._story.done.items()
            if part == 0 and isinstance(fact, BatchRecorded)
        }
        while not source.done and (fact := facts.get(source.recorded)) is not None:
            source.record(fact.rows, last=fact.last)
            self._count(fact)
            self._deliver(fact.seq_no, fact.rows, fact)
        source.deaths.update({ordinal(seq_no) or 0: deaths for (seq_no, _), deaths in self._story.deaths.items()})

    def _replay_halved(self, seq_no: SeqNo, halves: dict[int, BatchHalved]) -> None:
        state = self._state
        cuts = {part: self._rebuilt(seq_no, fact) for part, fact in halves.items()}
        ends = leaves(cuts[0], 0, cuts)
        state.parts.split(cuts[0], 0)
        state.parts.halved[seq_no].open = len(ends)
        for part, half in ends:
            fact = self._story.done.get((seq_no, part))
            if fact is None:
                deaths = state.deaths.pop((seq_no, part), 0)
                state.leases.open(Work(state.place.index, part, half, deaths))
                continue
            self._count(fact)
            rows = fact.rows if isinstance(fact, BatchRecorded) else 1
            if (whole := state.parts.finish(seq_no, rows)) is not None:
                span = of_output(whole.whole.span, whole.whole.rows, whole.rows)
                self._hand_on(Chunk(state.name, seq_no, whole.rows, span))

    def _rebuilt(self, seq_no: SeqNo, fact: BatchHalved) -> Cut:
        cut = rebuilt(seq_no, fact.inputs, fact.span)
        return replace(cut, span=self._labels(fact.inputs, fact.span, cut.rows))

    def _count(self, fact: BatchRecorded | RowsBuried) -> None:
        counts = self._state.counts
        counts.rows_in += _taken(fact)
        counts.failed_rows += len(fact.failures) if isinstance(fact, BatchRecorded) else 1

    def _deliver(self, seq_no: SeqNo, rows: int, fact: BatchRecorded | RowsBuried) -> None:
        taken = self._labels(fact.inputs, fact.span, _taken(fact))
        self._hand_on(Chunk(self._state.name, seq_no, rows, of_output(taken, _taken(fact), rows)))

    def _labels(self, inputs: Inputs, recorded: Span, taken: int) -> Span:
        """The labels as recorded, or made anew of a batch that was recorded for a pipeline with other joins."""
        if tuple(fork for fork, _ in recorded) == self._forks:
            return recorded
        chunks = self._chunks
        pieces = [
            [
                (chunks[part.step, part.seq_no], part.start, part.stop)
                for part in slices
                if (part.step, part.seq_no) in chunks
            ]
            for slices in inputs
        ]
        counts = [sum(stop - start for _, start, stop in each) for each in pieces if each]
        single = self._state.place.manner != "everything" or len(pieces) == 1
        return of_input(self._forks, pieces, even=single and all(count == taken for count in counts)) if counts else ()

    def _hand_on(self, chunk: Chunk) -> None:
        """As when it was recorded; a batch whose successors are not chosen waits for that."""
        if self._labelled:
            self._chunks[chunk.step, chunk.seq_no] = chunk
        self._flow.deliver(self._state, chunk)
        chosen = self._state.chosen.pop(chunk.seq_no, None)
        if chosen is not None and self._state.unrouted.pop(chunk.seq_no) is not None:
            successors = [index for index in self._state.place.successors if self._flow.steps[index].name in chosen]
            self._flow.route(self._state, chunk, successors)
