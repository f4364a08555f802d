"""The coordinator's loop: poll, take what came, let the core judge it, carry out what it says.

One thread owns the socket and the journal. Nothing a peer sends can end the loop; an exception in it is a bug
of ours, which is logged, told to the client, and raised.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from distilmq.errors import JournalError
from distilmq.protocol import messages
from distilmq.protocol.plan import Plan
from distilmq.transport.ports import Front
from distilmq_broker.clients import ClientDesk
from distilmq_broker.core.beats import beat_interval
from distilmq_broker.crash_points import CrashPoints
from distilmq_broker.group_commit import GroupCommit
from distilmq_broker.incoming import IncomingResults
from distilmq_broker.lifeline import Call, Calls
from distilmq_broker.logbook import Logbook
from distilmq_broker.passing import Passing
from distilmq_broker.performing import Performer
from distilmq_broker.ports import Clock, Journal, Mind, Router, Slots
from distilmq_broker.post import Post
from distilmq_broker.reception import Reception, Sayable
from distilmq_broker.routing import error_info
from distilmq_broker.run import Run, journal_error
from distilmq_broker.run_files import RunFiles
from distilmq_broker.run_folder import RunFolder
from distilmq_broker.secret_book import SecretBook
from distilmq_broker.sessions import Sessions
from distilmq_broker.settings import MAX_MESSAGE, MAX_PART

if TYPE_CHECKING:
    from distilmq_broker.submitted import Submitted

_AT_ONCE = 256
"""Messages taken before the clock is looked at again."""
_LONGEST_POLL = 1.0
_GRACE = 3.0
"""Seconds that workers have to unload once the run is over and its client gone."""


class Service:
    """One coordinator; it serves until a client closes it, or nobody is left to serve."""

    def __init__(
        self,
        *,
        run_id: str,
        folder: RunFolder,
        front: Front,
        journal: Journal,
        clock: Clock,
        calls: Calls,
        make_mind: Callable[[Plan], Mind],
        make_slots: Callable[[Plan, Post], Slots],
        make_router: Callable[[Plan], Router],
        prepare: Callable[[Plan], list[messages.Note]],
        crash: CrashPoints,
        log: Logbook,
        client_gone: Callable[[], None] = lambda: None,
        submitted: Submitted | None = None,
        sayable: Sayable | None = None,
        max_part: int = MAX_PART,
    ) -> None:
        self._run_id = run_id
        self._folder = folder
        self._front = front
        self._journal = journal
        self._clock = clock
        self._calls = calls
        self._make_mind = make_mind
        self._make_slots = make_slots
        self._make_router = make_router
        self._prepare = prepare
        self._crash = crash
        self._log = log
        self._client_gone = client_gone
        self._submitted = submitted
        self._max_part = max_part
        self._leave_by: float | None = None
        self._stops = 0
        self._resumed = 0
        self._plan = folder.stored_plan()
        self.sessions = Sessions()
        self._post = Post(front, self.sessions, log)
        self.desk = ClientDesk(
            accept=self._accept, accepted=self._accepted, sessions=self.sessions, post=self._post, log=log
        )
        self.reception = Reception(
            welcome=self._welcome,
            desk=self.desk,
            sessions=self.sessions,
            post=self._post,
            log=log,
            sayable=sayable,
            borrow=submitted.borrow if submitted else None,
        )

    def serve(self) -> None:
        """Runs until it is closed.

        Raises:
            Exception: a bug of ours; the clients have been told.
        """
        try:
            if self._submitted is not None and self._plan is not None:
                self._submitted.begin(self.desk, self._plan)
            while not self._over():
                try:
                    self._turn()
                except JournalError as error:
                    self._end_with(error)
        except Exception as error:
            self._log.exception("bug")
            if self.desk.run is not None:
                self.desk.run.finish_with(error_info(error))
            raise

    def close(self) -> None:
        """Ends what was started; what is recorded is durable."""
        if self.desk.run is not None:
            self.desk.run.router.close()
            self.desk.run.slots.stop(now=True)
            self.desk.run.passing.end(over=self._submitted is None or self.desk.run.finished is not None)

    def _turn(self) -> None:
        run = self.desk.run
        files = list(self._calls.filenos())
        if run is not None:
            files += [run.router.fileno(), *run.passing.filenos()]
        readable = self._front.poll(self._timeout(), files)
        for call in self._calls.calls(readable):
            self._answer_call(call)
        dry = self._receive()
        run = self.desk.run
        if run is None:
            return
        run.commit_if_due(dry=dry)
        run.tick()
        run.commit_if_due(dry=dry)
        if self._submitted is not None:
            self._submitted.attend(run, self._clock.monotonic())

    def _receive(self) -> bool:
        for _ in range(_AT_ONCE):
            received = self._front.receive()
            if received is None:
                return True
            self.reception.take(*received)
            if self.desk.run is not None:
                self.desk.run.commit_if_due(dry=False)
        return False

    def _timeout(self) -> float:
        run = self.desk.run
        deadline = run.next_deadline() if run is not None else None
        if self._leave_by is not None:
            deadline = min(self._leave_by, deadline if deadline is not None else self._leave_by)
        if deadline is None:
            return _LONGEST_POLL
        return min(max(deadline - self._clock.monotonic(), 0.0), _LONGEST_POLL)

    def _answer_call(self, call: Call) -> None:
        run = self.desk.run
        if self._submitted is not None and call != "child_ended":
            # What is recorded is durable, and the broker starts us again when the run is to go on.
            self._log.info("let_go", call=call)
            self._submitted.leaving = True
            return
        over = run is None or run.finished is not None
        match call:
            case "client_gone":
                self._log.info("client_gone")
                self._client_gone()
                self.desk.closing = True
                if run is not None and not over:
                    run.stop()
            case "terminate":
                self._stops += 1
                self._log.info("terminated", times=self._stops)
                if over or self._stops > 1:
                    self.desk.closing = True
                if run is not None and not over:
                    run.stop() if self._stops == 1 else run.kill()
            case "child_ended":
                if run is not None:
                    run.look_after_supervisors()

    def _over(self) -> bool:
        run = self.desk.run
        if self._submitted is not None and self._submitted.leaving:
            return True
        if run is None:
            return self.desk.closing
        if run.finished is None:
            return False
        # The workers unload meanwhile; who does not come to an end is killed.
        gone = run.dismiss_supervisors()
        if not self.desk.closing:
            return False
        now = self._clock.monotonic()
        self._leave_by = self._leave_by if self._leave_by is not None else now + _GRACE
        return gone or now >= self._leave_by

    def _end_with(self, error: JournalError) -> None:
        self._log.exception("journal_broken")
        if self.desk.run is None:
            raise error
        with suppress(JournalError):
            self._journal.doubt()
        self.desk.run.finish_with(journal_error(error))

    # ------------------------------------------------------------ the plan

    def _accept(self, plan: Plan, secrets: dict[str, dict[str, str]]) -> Run:
        self._log.set_level(plan.settings.log_level)
        notes: list[messages.Note] = []
        if not plan.settings.read_only:
            notes = self._prepare(plan)
            self._folder.store_plan(plan)
        self._plan = plan
        group = GroupCommit(self._journal, self._crash)
        router = self._make_router(plan)
        slots = self._make_slots(plan, self._post)
        book = SecretBook(plan, secrets)
        incoming = IncomingResults(self._journal, self.sessions, self._post, self._log)
        passing = Passing(plan, self._run_id, self._log, self._tell)
        performer = Performer(
            plan,
            artifacts=None if self._submitted is not None else self._folder.artifacts,
            secrets=book,
            journal=self._journal,
            group=group,
            router=router,
            slots=slots,
            sessions=self.sessions,
            post=self._post,
            crash=self._crash,
            log=self._log,
            incoming=incoming,
            passing=passing,
            max_part=self._max_part,
        )
        run = Run(
            plan,
            incoming=incoming,
            passing=passing,
            secrets=book,
            files=_files(self._folder, plan),
            mind=self._make_mind(plan),
            clock=self._clock,
            journal=self._journal,
            group=group,
            performer=performer,
            router=router,
            slots=slots,
            sessions=self.sessions,
            post=self._post,
            log=self._log,
            notes=notes,
        )
        self._resumed = self._journal.recorded()
        self._log.info("plan_accepted", pipeline=plan.pipeline, steps=len(plan.steps), recorded=self._resumed)
        run.start()
        for member in list(self.sessions.members.values()):
            if member.hello.role != "client":
                self.reception.introduce(run, member.hello)
        return run

    def _tell(self, note: messages.Note) -> None:
        for member in self.sessions.watchers():
            self._post.send(member.hello.session, note)

    def _accepted(self) -> messages.Accepted:
        return messages.Accepted(run=self._run_id, epoch=self._journal.epoch, resumed=self._resumed)

    def _welcome(self) -> messages.Welcome:
        heartbeat, liveness = 1.0, 15.0
        if self._plan is not None:
            heartbeat, liveness = self._plan.settings.heartbeat, self._plan.settings.liveness
        return messages.Welcome(
            run=self._run_id,
            epoch=self._journal.epoch,
            heartbeat=beat_interval(len(self.sessions.members), liveness, heartbeat),
            liveness=liveness,
            max_message=MAX_MESSAGE,
            max_part=self._max_part,
        )


def _files(folder: RunFolder, plan: Plan) -> RunFiles:
    digests = frozenset(file.digest for step in plan.steps for file in step.data)
    return RunFiles(folder, frozenset(step.name for step in plan.steps), digests)
