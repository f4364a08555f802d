"""Towards the coordinator of each run that has processes here, the host is a supervisor like any other."""

from __future__ import annotations

from collections.abc import Iterable

from distilmq.protocol.messages import (
    Bye,
    Exited,
    Heartbeat,
    Hello,
    Kill,
    Message,
    Note,
    Refused,
    Stop,
    Welcome,
    Who,
)
from distilmq_workers.host.commands import Command, KillProcess, Say, Tell
from distilmq_workers.host.events import ProcessEnded, ProcessStalled
from distilmq_workers.host.introductions import Introduction
from distilmq_workers.host.places import Place, Places


class ServedRuns:
    """Introduces the host to runs, beats for their processes, and tells when one ends.

    Args:
        hello: who the host is; what changes is filled in when it is said.
        places: of the host.
    """

    def __init__(self, hello: Hello, places: Places) -> None:
        self._hello = hello
        self._places = places
        self._runs: dict[str, Introduction] = {}

    def go_by(self, hello: Hello) -> None:
        """The host has another name from here on; to runs that know it, it is introduced anew."""
        self._hello = hello
        for known in self._runs.values():
            known.welcome, known.due = None, 0.0

    def serve(self, run: str) -> None:
        """There is a place for it."""
        self._runs.setdefault(run, Introduction())

    def received(self, run: str, message: Message, now: float) -> Iterable[Command]:
        """What a coordinator said."""
        known = self._runs.get(run)
        if known is None:
            return
        match message:
            case Welcome():
                known.welcomed(message, now)
            case Who():
                known.ask_again(now)
            case Kill(child=child) if child in self._places.children_of(run):
                yield KillProcess(child)
            case Stop(now=True):
                for place in self._places.of_run(run):
                    yield from self._places.end(place, at_once=True)
            case Refused(reason=reason, fix=fix):
                yield Tell(f"run {run} refused this worker: {reason}. {fix}".strip())
                for place in self._places.of_run(run):
                    yield from self._places.end(place)
            case _:
                # Step processes are told themselves what they are to do.
                return

    def process_ended(self, place: Place, event: ProcessEnded) -> Say:
        """A process that served one of them is no more."""
        said = Exited(
            session=self._hello.session, child=event.child, code=event.code, output=event.output, told=place.ending
        )
        return Say(place.grant.run, said)

    def process_stalled(self, place: Place, event: ProcessStalled) -> Say:
        """A process that serves one of them lets nothing else in it run."""
        text = f"process {event.child} lets nothing else in it run; its threads are at:\n{event.stacks}"
        said = Note(session=self._hello.session, level="warning", event="stalled", text=text, child=event.child)
        return Say(place.grant.run, said)

    def speak(self, now: float) -> Iterable[Say]:
        """Hellos and beats that are due."""
        for run, known in self._runs.items():
            if known.is_due(now):
                yield Say(run, self._introduce(run) if known.welcome is None else self._beat(run))

    def part(self) -> Iterable[Say]:
        """Bye to those that have no places here any more."""
        for run in [run for run in self._runs if not self._places.of_run(run)]:
            del self._runs[run]
            yield Say(run, Bye(session=self._hello.session))

    def part_from_all(self) -> Iterable[Say]:
        """Bye to everyone."""
        return [Say(run, Bye(session=self._hello.session)) for run in self._runs]

    def due(self) -> list[float]:
        """When to speak to each of them."""
        return [known.due for known in self._runs.values()]

    def _introduce(self, run: str) -> Hello:
        return self._hello.model_copy(update={"capacity": len(self._places.of_run(run))})

    def _beat(self, run: str) -> Heartbeat:
        return Heartbeat(session=self._hello.session, children=self._places.children_of(run))
