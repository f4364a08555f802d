"""Keeping as many step processes as the core asks for: on this machine by one supervisor, replaced when it dies."""

from __future__ import annotations

from distilmq.protocol.messages import Hello, Slots
from distilmq_broker.core.events import SupervisorExited
from distilmq_broker.logbook import Logbook
from distilmq_broker.ports import Launcher
from distilmq_broker.post import Post

MAX_DEATHS = 5
"""Supervisors that may die one after the other without having said Hello."""


class SlotKeeper:
    """Starts supervisors and tells them how many step processes to keep."""

    def __init__(self, launcher: Launcher, post: Post, log: Logbook) -> None:
        self._launcher = launcher
        self._post = post
        self._log = log
        self._wanted = 0
        self._ours: str | None = None
        """The supervisor we started."""
        self._session: str | None = None
        self._told = 0
        self._deaths = 0

    def keep(self, count: int) -> None:
        """Have this many step processes in all."""
        self._wanted = count
        if self._ours is None and count:
            self._start()
        self._tell()

    def joined(self, hello: Hello) -> None:
        """A supervisor said Hello: one of ours is told what has changed since it was started."""
        if hello.worker != self._ours:
            return
        self._deaths = 0
        if self._session != hello.session:
            self._session = hello.session
            self._told = hello.capacity
        self._tell()

    def ended(self) -> list[SupervisorExited]:
        """Supervisors that ended since the last call; ours is replaced while step processes are wanted."""
        ended = list(self._launcher.exited())
        for name, code in ended:
            tell = self._log.warning if code or self._wanted else self._log.info
            tell("supervisor_ended", worker=name, code=code)
            if name == self._ours:
                self._ours = self._session = None
                self._deaths += 1
                if self._wanted and not self.hopeless:
                    self._start()
        return [SupervisorExited(name, code) for name, code in ended]

    def refuse(self, worker: str, step: str, reason: str) -> None:
        """See `Slots.refuse`: ours are all on this machine, and have what it has."""

    def departed(self, session: str) -> None:
        """See `Slots.departed`: the core itself lends to ours."""

    @property
    def hopeless(self) -> bool:
        """Whether supervisors die before they come up, again and again."""
        return self._deaths >= MAX_DEATHS

    def stop(self, *, now: bool) -> None:
        """No step process is wanted any more; ends the supervisors that we started."""
        self._wanted = 0
        self._launcher.stop(now=now)

    @property
    def running(self) -> bool:
        """Whether a supervisor that we started has not ended yet."""
        return self._launcher.running

    def _start(self) -> None:
        self._ours = self._launcher.start(self._wanted)
        self._log.info("supervisor_started", worker=self._ours, slots=self._wanted)

    def _tell(self) -> None:
        if self._session is not None and self._told != self._wanted:
            self._post.send(self._session, Slots(count=self._wanted))
            self._told = self._wanted
