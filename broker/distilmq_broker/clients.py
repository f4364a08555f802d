"""The desk for clients: plans, secrets, watching, control, rows."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence

from pydantic import ValidationError

from distilmq.protocol import messages
from distilmq.protocol.packing import UnpackError
from distilmq.protocol.plan import Plan, decode_plan
from distilmq_broker.core.events import PauseRequested, ResumeRequested
from distilmq_broker.logbook import Logbook
from distilmq_broker.post import Post
from distilmq_broker.run import Run
from distilmq_broker.sessions import Member, Sessions


class RefusedPlanError(Exception):
    """A plan that cannot run here: why, and what to do."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


class ClientDesk:
    """Answers clients. `run` is None until one of them has submitted a plan."""

    def __init__(
        self,
        *,
        accept: Callable[[Plan, dict[str, dict[str, str]]], Run],
        accepted: Callable[[], messages.Accepted],
        sessions: Sessions,
        post: Post,
        log: Logbook,
    ) -> None:
        self.run: Run | None = None
        self.closing = False
        """A client is done with us."""
        self.lingers = False
        """Clients come and go, and the run goes on: it was submitted."""
        self._accept = accept
        self._accepted = accepted
        self._sessions = sessions
        self._post = post
        self._log = log
        self._secrets: dict[str, dict[str, str]] = {}
        self._heard = 0
        self._told: Callable[[messages.Secrets], None] = lambda secrets: None

    @property
    def heard(self) -> int:
        """How many messages of clients have come."""
        return self._heard

    def pass_on(self, told: Callable[[messages.Secrets], None]) -> None:
        """Has somebody else told of the secrets that come."""
        self._told = told

    def know(self, values: Mapping[str, Mapping[str, str]]) -> None:
        """Takes secret values: step to dotted field to value."""
        self._secrets.update({step: dict(fields) for step, fields in values.items()})
        if self.run is not None:
            self.run.secrets_came()

    def begin(self, plan: Plan) -> Run:
        """Runs a plan that was submitted before."""
        self.run = self._accept(plan, self._secrets)
        return self.run

    def take(self, message: messages.Message, payload: Sequence[bytes], sender: Member) -> None:
        """Deals with one message of a client that said Hello."""
        self._heard += 1
        match message:
            case messages.Secrets(values=values):
                self.know(values)
                self._told(message)
            case messages.Submit():
                self._submit(payload, sender)
            case messages.Watch():
                again, sender.watching = sender.watching, True
                if self.run is not None:
                    self._show(self.run, sender, again=again)
            case messages.Control(action="close") if self.lingers:
                self._sessions.leave(message.session)
            case messages.Control():
                self._control(message)
            case messages.Fetch() if self.run is not None:
                self.run.fetches.ask(message)
            case messages.FetchFailures() if self.run is not None:
                self.run.fetches.send_failures(message)
            case messages.FetchUsage() if self.run is not None:
                self.run.fetches.send_usage(message)
            case messages.Describe() if self.run is not None:
                config = self.run.plan.dataset.config.encode(errors="surrogatepass")
                self._post.send(message.session, described(self.run.plan), [config])
            case messages.ListFiles() if self.run is not None:
                self._post.send(message.session, messages.FileList(files=self.run.files.listed()))
            case messages.FetchFile(path=path, offset=offset) if self.run is not None:
                part = messages.FilePart(path=path, offset=offset)
                self._post.send(message.session, part, [self.run.files.part(path, offset)])
            case _:
                self._log.debug("message_without_use", message=type(message).__name__)

    def refusal_of(self, hello: messages.Hello) -> messages.Refused | None:
        """Why a peer cannot take part: another Python must not load what the plan's Python has pickled."""
        if self.run is None or hello.role == "client" or not hello.versions.python:
            return None
        minor = ".".join(hello.versions.python.split(".")[:2])
        if minor == self.run.plan.python:
            return None
        return messages.Refused(
            reason=f"this worker runs Python {minor}, the pipeline was submitted from {self.run.plan.python}",
            fix=f"start the worker with Python {self.run.plan.python}",
        )

    def _submit(self, payload: Sequence[bytes], sender: Member) -> None:
        session = sender.hello.session
        try:
            plan = plan_in(payload)
            if self.run is None:
                self.run = self._accept(plan, self._secrets)
            elif identity(plan) != identity(self.run.plan):
                raise RefusedPlanError("this coordinator already runs another pipeline", "start one for each run")
        except RefusedPlanError as error:
            self._log.warning("plan_refused", reason=error.reason)
            self._post.send(session, messages.Refused(reason=error.reason, fix=error.fix))
            return
        self._post.send(session, self._accepted())
        if self.run.finished is not None:
            self._post.send(session, self.run.finished)

    def _control(self, message: messages.Control) -> None:
        run = self.run
        over = run is None or run.finished is not None
        match message.action:
            case "close":
                self.closing = True
                if run is not None and not over:
                    run.stop()
            case "stop" if run is not None and not over:
                run.stop(message.timeout)
            case "kill" if run is not None and not over:
                run.kill()
            case "pause" if run is not None:
                run.handle(PauseRequested("a client asked for it"))
            case "resume" if run is not None:
                run.handle(ResumeRequested())
            case _:
                return

    def _show(self, run: Run, sender: Member, *, again: bool) -> None:
        for note in () if again else run.notes:
            self._post.send(sender.hello.session, note)
        run.feed.send(0.0, force=True)
        if run.finished is not None:
            self._post.send(sender.hello.session, run.finished)


def described(plan: Plan) -> messages.Described:
    """What clients that did not submit it need to know of a run."""
    steps = tuple(step.name for step in plan.steps)
    dataset = plan.dataset.model_copy(update={"config": ""})
    return messages.Described(pipeline=plan.pipeline, steps=steps, leaves=plan.leaves, dataset=dataset)


def identity(plan: Plan) -> object:
    """What makes two plans the same run: everything but how it is to behave."""
    steps = tuple((step.name, step.kind, step.predecessors, step.signature) for step in plan.steps)
    return plan.pipeline, steps, tuple((route.step, route.sample) for route in plan.routes)


def plan_in(payload: Sequence[bytes]) -> Plan:
    """The plan that a client sent; raises `RefusedPlanError` when it cannot run here."""
    if len(payload) != 1:
        raise RefusedPlanError("a plan comes in one payload frame")
    try:
        plan = decode_plan(payload[0])
    except (UnpackError, ValidationError) as error:
        raise RefusedPlanError(f"the plan cannot be read: {str(error)[:500]}") from error
    here = ".".join(platform.python_version_tuple()[:2])
    if plan.python != here:
        raise RefusedPlanError(
            f"the pipeline was submitted from Python {plan.python}, the coordinator runs {here}",
            f"start the coordinator with Python {plan.python}",
        )
    return plan
