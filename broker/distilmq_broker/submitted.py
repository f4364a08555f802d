"""A run that a broker has started a coordinator for: it does what the broker says, and tells it what it needs."""

from __future__ import annotations

from distilmq.protocol.messages import Borrow, Lend, Secrets
from distilmq.protocol.messages.broker import CoordinatorHello, Departed, Granted, Lent, Needs, Order, Stored, Unfit
from distilmq.protocol.messages.runs import RunState
from distilmq.protocol.messages.slots import Need
from distilmq.protocol.plan import Plan
from distilmq_broker.clients import ClientDesk
from distilmq_broker.core.events import HostsExhausted, PauseRequested, ResumeRequested
from distilmq_broker.core.wanted import Wanted
from distilmq_broker.logbook import Logbook
from distilmq_broker.ports import BrokerLine, FromBroker
from distilmq_broker.run import Run

TELL_EVERY = 1.0
"""Seconds after which the needs are told again, changed or not."""
LOOK_EVERY = 0.1
"""Seconds between looks at whether they have changed."""


class Submitted:
    """The coordinator's side of its line to the broker.

    Args:
        line: to the broker.
        run: its id.
        epoch: of this coordinator.
        pid: of this process.
        read_only: whether the run is over, and only asked about.
        linger: seconds without a word of a client after which the coordinator of a run that is over may leave.
        log: of the run.
    """

    def __init__(
        self,
        line: BrokerLine,
        *,
        run: str,
        epoch: int,
        pid: int,
        read_only: bool,
        linger: float,
        log: Logbook,
    ) -> None:
        self.leaving = False
        """Whether the loop is to end now, whatever is in work: what is recorded is durable."""
        self.unmet: dict[str, str] = {}
        """Step to why it has fewer processes than it wants."""
        self._line = line
        self._hello = CoordinatorHello(run=run, epoch=epoch, pid=pid)
        self._read_only = read_only
        self._log = log
        self._linger = linger
        self._desk: ClientDesk | None = None
        self._told = Needs()
        self._tell_at = 0.0
        self._look_at = 0.0
        self._heard = 0
        self._heard_at: float | None = None

    def begin(self, desk: ClientDesk, plan: Plan) -> None:
        """Says Hello to the broker and goes on with the run."""
        self._desk = desk
        desk.lingers = True
        desk.pass_on(self._line.tell)
        settings = plan.settings.model_copy(update={"read_only": self._read_only})
        desk.begin(plan.model_copy(update={"settings": settings}))
        self._line.tell(self._hello)

    def attend(self, run: Run, now: float) -> None:
        """Does what the broker said, and tells it what has changed."""
        for order in self._line.orders():
            self._obey(order, run, now)
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        needs = self._needs(run, now)
        if needs != self._told or now >= self._tell_at:
            self._told, self._tell_at = needs, now + TELL_EVERY
            self._line.tell(needs.model_copy(update={"progress": run.progress()}))

    def look_again(self) -> None:
        """Other step processes are needed than before."""
        self._look_at = 0.0

    def borrow(self, message: Borrow) -> None:
        """A step process asks for its share of an account's limits: they hold over all runs of the broker."""
        self._line.tell(message)

    def departed(self, session: str) -> None:
        """A step process is no more."""
        self._line.tell(Departed(session=session))

    def refuse(self, worker: str, step: str, reason: str) -> None:
        """A host is to get no more of the run, or of one of its steps."""
        self._line.tell(Unfit(worker=worker, steps=(step,) if step else (), reason=reason))

    def _obey(self, order: FromBroker, run: Run, now: float) -> None:
        match order:
            case Order():
                self._log.info("ordered", action=order.action)
                self._follow(order, run, now)
            case Granted():
                self.unmet = {unmet.need: unmet.reason for unmet in order.unmet}
                run.handle_all(HostsExhausted(unmet.need) for unmet in order.unmet if unmet.refused)
            case Lent():
                run.lend(order.session, _lend(order))
            case Stored():
                run.store_secrets(order.values)
            case Secrets():
                if self._desk is not None:
                    self._desk.know(order.values)

    def _follow(self, order: Order, run: Run, now: float) -> None:
        over = run.finished is not None
        match order.action:
            case "leave":
                # Somebody may have asked something meanwhile; then the broker is told so.
                self.leaving = over and self._idle(run, now)
            case "stop" if not over:
                run.stop(order.timeout)
            case "kill" if not over:
                run.kill()
            case "pause" if not over:
                run.handle(PauseRequested("it was asked for"))
            case "run" if not over:
                run.handle(ResumeRequested())
            case _:
                return

    def _needs(self, run: Run, now: float) -> Needs:
        progress = run.progress()
        return Needs(
            needs=tuple(_need(run.plan, wanted) for wanted in run.wanted()),
            state=_state(run, paused=progress.state == "paused"),
            reason=_reason(run, progress.reason),
            idle=self._idle(run, now),
        )

    def _idle(self, run: Run, now: float) -> bool:
        heard = 0 if self._desk is None else self._desk.heard
        if self._heard_at is None or heard != self._heard or run.finished is None:
            self._heard, self._heard_at = heard, now
        return now - self._heard_at >= self._linger


def _lend(lent: Lent) -> Lend:
    return Lend(
        account=lent.account,
        borrower=lent.borrower,
        loan=lent.loan,
        seconds=lent.seconds,
        asked=lent.asked,
        learnt=lent.learnt,
        settled=lent.settled,
        full=lent.full,
    )


def _need(plan: Plan, wanted: Wanted) -> Need:
    each = plan.step(wanted.step).resources
    return Need(
        id=wanted.step,
        steps=(wanted.step,),
        count=wanted.processes,
        work=wanted.work,
        fed=wanted.fed,
        ready=wanted.ready,
        load=round(wanted.load, 2),
        cpus=each.cpus or 0,
        gpus=each.gpus or 0,
        memory=each.memory or 0,
        resources=each.resources,
        labels=each.labels,
        waits=wanted.waits,
    )


def _state(run: Run, *, paused: bool) -> RunState:
    if run.finished is not None:
        return run.finished.outcome
    return "paused" if paused else "running"


def _reason(run: Run, paused: str) -> str:
    if run.finished is None or run.finished.error is None:
        return paused
    where = f"step '{run.finished.step}': " if run.finished.step else ""
    return f"{where}{run.finished.error.type}: {run.finished.error.message}"
