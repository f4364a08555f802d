"""A host's side of the protocol, without I/O: events in, commands out.

The broker says which grants the host is to have, always all of them; for each there is a place with one step process,
which is replaced when it dies. A grant is over when its process leaves by its own will, and is not listed from then
on; that it is over is remembered for as long as the broker still lists it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from distilmq.protocol.messages import Bye, Hello, Message, Refused, Stop, Versions, Welcome, Who
from distilmq.protocol.messages.broker import Grants, HostBeat, HostHello
from distilmq_workers.host.commands import Command, GoBy, Leave, Say, StartProcess, Tell
from distilmq_workers.host.events import (
    Event,
    ProcessEnded,
    ProcessStalled,
    Received,
    StarterGone,
    TerminateAsked,
    TimePassed,
)
from distilmq_workers.host.introductions import Introduction
from distilmq_workers.host.places import Places
from distilmq_workers.host.served_runs import ServedRuns
from distilmq_workers.host.settings import HostSettings

BROKER = ""
REFUSED = 2
BROKER_LOST = 3
_LIVENESS = 15.0
"""Seconds, until the broker has said how many."""


class HostSession:
    """The state of one host.

    Args:
        settings: as the command line said.
        session: the name of this life.
        versions: what is installed here.
        host: the machine's name.
        pid: of this program.
        new_child: makes the name of the next step process's life.
        now: when it began.
    """

    def __init__(
        self,
        settings: HostSettings,
        *,
        session: str,
        versions: Versions,
        host: str,
        pid: int,
        new_child: Callable[[], str],
        now: float,
    ) -> None:
        self._settings = settings
        self._me = Hello(
            role="supervisor", worker=settings.worker, session=session, versions=versions, host=host, pid=pid
        )
        self._new_child = new_child
        self._places = Places()
        self._runs = ServedRuns(self._me, self._places)
        self._broker = Introduction(due=now)
        self._known = False
        """Whether it was ever welcomed."""
        self._heard = ""
        """The last list of grants that came."""
        self._loss_at = math.inf
        """When the broker counts as lost, or (once it is lost) has not come back in time."""
        self._lost = False
        self._idle_since: float | None = now
        self._limit_at = math.inf if settings.time_limit is None else now + settings.time_limit
        self._leaving: int | None = None
        """The exit code with which it leaves when its last process is gone."""
        self._left = False

    # ---------------------------------------------------------------- what is asked of it

    def handle(self, event: Event, now: float) -> list[Command]:
        """What to do about an event; nothing any more after `Leave`."""
        if self._left:
            return []
        commands = [*self._judge(event, now), *self._look_at_clocks(now)]
        if not self._left:
            commands += [*self._start_processes(now), *self._runs.part(), *self._speak(now), *self._maybe_leave()]
        return commands

    def next_deadline(self) -> float:
        """When to call `handle` with `TimePassed` at the latest."""
        deadlines = [self._broker.due, *self._runs.due()]
        if self._leaving is None:
            deadlines += [self._limit_at, self._loss_at, self._idle_at]
            if (start := self._places.next_start()) is not None:
                deadlines.append(start)
        return min(deadlines)

    # ---------------------------------------------------------------- events

    def _judge(self, event: Event, now: float) -> Iterable[Command]:
        match event:
            case Received(run, message):
                return [*self._broker_is_there(now), *self._received(run, message, now)]
            case ProcessEnded():
                return self._ended(event, now)
            case ProcessStalled(child=child):
                place = self._places.with_child(child)
                return [] if place is None else [self._runs.process_stalled(place, event)]
            case TerminateAsked():
                if self._leaving is not None:
                    return self._leave(0)
                return self._drain(0, "asked to leave: finishing what is in hand", now)
            case StarterGone():
                return [Tell("who started this worker is gone: leaving"), *self._leave(0)]
            case TimePassed():
                return []

    def _received(self, run: str, message: Message, now: float) -> Iterable[Command]:
        return self._runs.received(run, message, now) if run != BROKER else self._received_from_broker(message, now)

    def _received_from_broker(self, message: Message, now: float) -> Iterable[Command]:
        match message:
            case Welcome():
                known, self._known = self._known, True
                self._broker.welcomed(message, now)
                return [] if known else [Tell("the broker knows this worker, and gives it steps from here on")]
            case Who():
                self._broker.ask_again(now)
            case Grants():
                return self._granted(message)
            case Stop(now=at_once):
                return self._leave(0) if at_once else self._drain(0, "told to leave: finishing what is in hand", now)
            case Refused(reason=reason, fix=fix):
                return self._refused(f"refused: {reason}. {fix}".strip())
            case _:
                pass
        return []

    def _refused(self, text: str) -> Iterable[Command]:
        yield Tell(text)
        # Who was welcomed has said something that the broker does not understand, and no more than that.
        if self._broker.welcome is None:
            yield from self._leave(REFUSED)

    def _granted(self, message: Grants) -> Iterable[Command]:
        self._heard = message.id
        if message.worker and message.worker != self._me.worker:
            yield from self._go_by(message.worker)
        named = [grant.id for grant in message.grants]
        self._places.forget_over(named)
        if self._leaving is None:
            self._places.take_up(message.grants)
        for place in self._places.all():
            self._runs.serve(place.grant.run)
            if place.grant.id not in named:
                yield from self._places.end(place)

    def _go_by(self, worker: str) -> Iterable[Command]:
        text = f"another worker is called {self._me.worker}: this one goes by {worker}. Give each a --name of its own"
        self._me = self._me.model_copy(update={"worker": worker})
        self._runs.go_by(self._me)
        return [Tell(text), GoBy(worker)]

    def _ended(self, event: ProcessEnded, now: float) -> Iterable[Command]:
        place = self._places.with_child(event.child)
        if place is None:
            return
        yield self._runs.process_ended(place, event)
        place.child = None
        place.pacing.ended(event.lived, event.code, now)
        if place.ending or event.code == 0:
            self._places.remove(place)
            # Another run may be waiting for the slot.
            self._broker.hurry(now)

    # ---------------------------------------------------------------- clocks

    def _start_processes(self, now: float) -> Iterable[Command]:
        for place in self._places.to_start(now) if self._leaving is None else ():
            place.child = self._new_child()
            yield StartProcess(place.child, place.grant)
        if len(self._places):
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now

    def _look_at_clocks(self, now: float) -> Iterable[Command]:
        if self._left or self._leaving is not None:
            return []
        if now >= self._limit_at:
            return self._drain(0, "the time limit is reached: finishing what is in hand", now)
        if now >= self._idle_at:
            return self._drain(0, f"nothing to do for {self._settings.idle_timeout:g} s: leaving", now)
        return self._miss_broker(now) if now >= self._loss_at else []

    @property
    def _idle_at(self) -> float:
        timeout = self._settings.idle_timeout
        return math.inf if timeout is None or self._idle_since is None else self._idle_since + timeout

    def _miss_broker(self, now: float) -> Iterable[Command]:
        """Nothing was heard of it for as long as after which it would count us as lost."""
        policy = self._settings.on_loss
        if policy.do == "exit":
            return [Tell("the broker is not heard any more: leaving"), *self._leave(BROKER_LOST)]
        if policy.do == "finish" or self._lost:
            return self._drain(BROKER_LOST, "the broker is not heard any more: finishing what is in hand", now)
        self._lost = True
        self._loss_at = now + policy.seconds
        return [Tell(f"the broker is not heard any more: going on, and waiting for it for {policy.seconds:g} s")]

    def _broker_is_there(self, now: float) -> Iterable[Command]:
        liveness = _LIVENESS if self._broker.welcome is None else self._broker.welcome.liveness
        self._loss_at = now + liveness
        if self._lost:
            self._lost = False
            yield Tell("the broker is back")

    # ---------------------------------------------------------------- speaking

    def _speak(self, now: float) -> Iterable[Command]:
        if self._broker.is_due(now):
            yield Say(BROKER, self._hello() if self._broker.welcome is None else self._beat())
        yield from self._runs.speak(now)

    def _hello(self) -> HostHello:
        return HostHello(
            worker=self._me.worker,
            session=self._me.session,
            offer=self._settings.offer,
            steps=self._settings.steps,
            versions=self._me.versions,
            host=self._me.host,
            pid=self._me.pid,
            grants=self._places.grants,
            heard=self._heard,
        )

    def _beat(self) -> HostBeat:
        grants = tuple(grant.id for grant in self._places.grants)
        return HostBeat(session=self._me.session, grants=grants, heard=self._heard, leaving=self._leaving is not None)

    # ---------------------------------------------------------------- leaving

    def _drain(self, code: int, why: str, now: float) -> Iterable[Command]:
        self._leaving = code
        yield Tell(why)
        self._broker.hurry(now)
        for place in self._places.all():
            yield from self._places.end(place)

    def _maybe_leave(self) -> Iterable[Command]:
        return [] if self._leaving is None or len(self._places) else self._leave(self._leaving)

    def _leave(self, code: int) -> Iterable[Command]:
        self._left = True
        return [*self._runs.part_from_all(), Say(BROKER, Bye(session=self._me.session)), Leave(code)]
