"""One run, from the moment its plan is accepted: events go to the core, and its commands into the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from distilmq.errors import JournalError
from distilmq.protocol import messages
from distilmq.protocol.messages import ErrorInfo
from distilmq.protocol.plan import Plan
from distilmq_broker.core.commands import EndRun
from distilmq_broker.core.events import (
    CommitFailed,
    Committed,
    DeadlineReached,
    Event,
    KillRequested,
    LoanCame,
    RouteFailed,
    SecretsMissing,
    StopRequested,
)
from distilmq_broker.core.wanted import Wanted
from distilmq_broker.fetching import Fetches
from distilmq_broker.group_commit import GroupCommit
from distilmq_broker.incoming import IncomingResults
from distilmq_broker.logbook import Logbook
from distilmq_broker.passing import Passing
from distilmq_broker.performing import Performer
from distilmq_broker.ports import Clock, Journal, Mind, Router, Slots
from distilmq_broker.post import Post
from distilmq_broker.progress_feed import ProgressFeed
from distilmq_broker.run_files import RunFiles
from distilmq_broker.secret_book import SecretBook
from distilmq_broker.sessions import Sessions


class Run:
    """Ties the core to the journal, the workers and the clients of one run."""

    def __init__(
        self,
        plan: Plan,
        *,
        files: RunFiles,
        incoming: IncomingResults,
        passing: Passing,
        secrets: SecretBook,
        mind: Mind,
        clock: Clock,
        journal: Journal,
        group: GroupCommit,
        performer: Performer,
        router: Router,
        slots: Slots,
        sessions: Sessions,
        post: Post,
        log: Logbook,
        notes: Iterable[messages.Note] = (),
    ) -> None:
        self.plan = plan
        self.notes = tuple(notes)
        """What there is to say about what was found in the cache."""
        self.files = files
        self.incoming = incoming
        self.passing = passing
        self._secrets = secrets
        self.router = router
        self.slots = slots
        self.performer = performer
        self.fetches = Fetches(journal, mind, post)
        self.feed = ProgressFeed(mind, sessions, post)
        self.finished: messages.Finished | None = None
        self._mind = mind
        self._clock = clock
        self._journal = journal
        self._group = group
        self._sessions = sessions
        self._post = post
        self._log = log
        self._failing = False
        self._silent = False

    def start(self) -> None:
        """Goes on from what is recorded; of a plan that is only to be read, nothing is started."""
        if self.plan.settings.read_only:
            self._silent = True
            self.performer.ended = EndRun(self._journal.outcome() or "stopped")
            return
        self.passing.begin(self._passing_begun)
        self._mind.restore(self._journal.facts())
        now = self._clock.monotonic()
        self.performer.perform(self._mind.start(now), now)
        self.secrets_came()

    def _passing_begun(self, problem: str | None) -> None:
        if problem is None:
            self.performer.assign_held()
        elif self.finished is None:
            self.finish_with(ErrorInfo(type="RunError", message=problem))

    def secrets_came(self) -> None:
        """Steps that wait for nothing but them can be loaded."""
        self.handle(SecretsMissing(tuple(self._secrets.missing().items())))

    def store_secrets(self, values: Mapping[str, str]) -> None:
        """The broker keeps these: environment variable to value."""
        self._secrets.store(values)
        self.secrets_came()

    def handle(self, event: Event) -> None:
        """Lets the core judge an event, and does what it says; nothing when there is no core to ask any more."""
        if self._silent:
            return
        now = self._clock.monotonic()
        self.performer.perform(self._mind.handle(event, now), now)

    def handle_all(self, events: Iterable[Event]) -> None:
        """As `handle`, one after the other."""
        for event in events:
            self.handle(event)

    def commit_if_due(self, *, dry: bool) -> None:
        """Makes records durable when it is time; `dry` says that no message waits."""
        now = self._clock.monotonic()
        while self._group.due(now, dry=dry):
            answer = self._group.commit(now)
            self._log_commit(answer)
            self.handle(answer)
            now = self._clock.monotonic()

    def tick(self) -> None:
        """Everything that does not come as a message: answers of routing functions, deadlines, ended supervisors."""
        self._take_routes()
        self.passing.settle()
        if (news := self.incoming.news()) is not None:
            self.handle(news)
        deadline = self._mind.next_deadline()
        if deadline is not None and deadline <= self._clock.monotonic():
            self.handle(DeadlineReached())
        if self.performer.ended is not None and self.finished is None:
            # A run that is killed does not wait for a full disk; every other one is committed already.
            self.commit_if_due(dry=True)
            self._finish(self.performer.ended)
        over = self.finished is not None
        if self.fetches.waiting:
            self.fetches.serve(over=over)
        self.feed.send(self._clock.monotonic())

    def look_after_supervisors(self) -> None:
        """Tells the core which supervisors have ended, and what ended with them."""
        for ended in self.slots.ended():
            for member in list(self._sessions.members.values()):
                if member.hello.worker == ended.worker:
                    self._sessions.leave(member.hello.session)
            self.handle(ended)
        if self.slots.hopeless and self.finished is None:
            text = "the workers' supervisor ended again and again before it came up; see workers.log of the run"
            self.finish_with(ErrorInfo(type="RunError", message=text))

    def next_deadline(self) -> float | None:
        """When to call `tick` or `commit_if_due` at the latest."""
        deadlines = (self._mind.next_deadline(), self._group.deadline(), self.feed.deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def progress(self) -> messages.Progress:
        """Where it stands."""
        return self._mind.progress(self._clock.monotonic())

    def wanted(self) -> list[Wanted]:
        """The step processes that it wants."""
        return [] if self._silent else self._mind.wanted()

    def stop(self, timeout: float | None = None) -> None:
        """Drains the run."""
        self._log.info("stop_requested", timeout=timeout)
        self.handle(StopRequested(self.plan.settings.stop_timeout if timeout is None else timeout))
        self.feed.send(self._clock.monotonic(), force=True)

    def kill(self) -> None:
        """Ends the run at once, and the workers with it."""
        self._log.info("kill_requested")
        self.handle(KillRequested())
        self.slots.stop(now=True)

    def lend(self, session: str, lend: messages.Lend) -> None:
        """Gives a step process the loan that the broker has answered it with."""
        self.handle(LoanCame(session, lend))

    def dismiss_supervisors(self) -> bool:
        """Lets supervisors go once their step processes have left; tells whether all have."""
        if not self.slots.running:
            return True
        if any(member.hello.role == "worker" for member in self._sessions.members.values()):
            return False
        for member in self._sessions.supervisors():
            if not member.leaving:
                member.leaving = True
                self._post.send(member.hello.session, messages.Stop())
        return False

    def finish_with(self, error: ErrorInfo) -> None:
        """Ends the run because of an error that the core knows nothing of, and asks the core nothing more."""
        self._silent = True
        for member in list(self._sessions.members.values()):
            if member.hello.role == "worker":
                self._post.send(member.hello.session, messages.Stop(now=True))
        self.performer.ended = EndRun("failed", error=error)
        self._finish(self.performer.ended)

    def _take_routes(self) -> None:
        while answers := list(self.router.answers()):
            for answer in answers:
                if isinstance(answer, RouteFailed):
                    self._log.error("route_failed", step=answer.step, seq_no=answer.seq_no, error=answer.error.message)
                self.handle(answer)  # pyright: ignore[reportArgumentType]  # the port says `object`
            self.commit_if_due(dry=True)

    def _finish(self, end: EndRun) -> None:
        self.finished = messages.Finished(
            outcome=end.outcome,  # pyright: ignore[reportArgumentType]  # the core says `str`
            step=end.step,
            error=end.error,
            loading=end.loading,
            budget=end.budget,  # pyright: ignore[reportArgumentType]  # ditto
        )
        self._log.info(
            "run_ended",
            outcome=end.outcome,
            step=end.step,
            error=end.error.message if end.error else None,
            budget=end.budget,
        )
        self._note(end.outcome)
        self.passing.tidy()
        # Step processes were told to leave by the core; none that ends is to be replaced.
        self.slots.keep(0)
        self.feed.send(self._clock.monotonic(), force=True)
        for member in self._sessions.clients():
            self._post.send(member.hello.session, self.finished)

    def _note(self, outcome: str) -> None:
        if self.plan.settings.read_only:
            return
        try:
            self._journal.note_outcome(outcome)
        except JournalError as error:
            self._log.error("outcome_not_noted", reason=str(error))

    def _log_commit(self, answer: Committed | CommitFailed) -> None:
        failing = isinstance(answer, CommitFailed)
        if failing and not self._failing:
            self._log.error("commit_failed", reason=answer.reason)
        if self._failing and not failing:
            self._log.info("commit_succeeded_again")
        self._failing = failing


def journal_error(error: JournalError) -> ErrorInfo:
    """A journal that cannot be read, as the end of a run."""
    text = f"{error}. Run it again: what is damaged is found then, and done anew"
    return ErrorInfo(type="JournalError", message=text)
