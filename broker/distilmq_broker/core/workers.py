"""Who is there: hosts and their step processes, what each was assigned and what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

from distilmq_broker.core.leases import Key, Work


class Fate(Enum):
    """Why a session is no more."""

    LOST = "nothing was heard of it; it may come back"
    CONDEMNED = "it is to be ended; should it come back, once more"
    EXITED = "its process has ended; what comes of it was on its way"


@dataclass(slots=True, eq=False)
class Session:
    """One step process, for as long as it lives.

    Invariant: `held` are exactly the works whose `holder` is this session.
    """

    id: str
    worker: str
    takes: tuple[str, ...] = ()
    """Steps it takes; empty for any."""
    step: int | None = None
    replica: int = 0
    ready: bool = False
    assigned: float = 0.0
    """When it was told its step."""
    stopping: bool = False
    credit: int = 1
    wanted: int = 0
    """Batches it said it wants to hold; 0 if it said nothing."""
    at_once: int = 1
    """Batches it works on at the same time: any of them may be what it dies of."""
    held: dict[Key, Work] = field(default_factory=lambda: dict[Key, Work]())
    """In the order of hand-out: the first is the one it is at."""
    alone: bool = False
    """It holds a batch that no other may share it with."""
    stacks: dict[Key, str] = field(default_factory=lambda: dict[Key, str]())
    """Of those that take long: where the user's code is, as it was last told."""
    since: float = 0.0
    """When it got to the first."""
    quick: int = 0
    """Batches in a row that it was done with in a moment."""
    beats: int = 0
    """Heartbeats since it was assigned, or told to stop."""
    quiet: int = 0
    """Heartbeats since a batch came to it or went from it."""
    listed: bool = False
    """Whether its supervisor has ever named it among its children."""
    unlisted: int = 0
    """Beats of its supervisor, one after the other, that did not name it."""

    @property
    def room(self) -> int:
        """How many batches it may still be handed."""
        if self.alone or self.stopping or not self.ready:
            return 0
        # A process that came back may turn out to hold more than its credit.
        return max(0, self.credit - len(self.held))


@dataclass(slots=True)
class Host:
    """A supervisor's machine: alive as long as anything is heard from it."""

    worker: str
    seen: float
    session: str = ""


@dataclass(slots=True)
class Workers:
    """All hosts and step processes that are known."""

    hosts: dict[str, Host] = field(default_factory=lambda: dict[str, Host]())
    sessions: dict[str, Session] = field(default_factory=lambda: dict[str, Session]())
    gone: dict[str, Fate] = field(default_factory=lambda: dict[str, Fate]())
    """Sessions of the past."""
    _by_host: dict[str, dict[str, Session]] = field(default_factory=lambda: dict[str, dict[str, Session]]())
    _unassigned: dict[str, Session] = field(default_factory=lambda: dict[str, Session]())
    """Those without a step, and some that have got one meanwhile."""
    _supervisors: dict[str, str] = field(default_factory=lambda: dict[str, str]())
    """Session of a supervisor to its host."""
    _longest_silent: float | None = None
    """When the host that was silent longest was heard, at the last look: no host was heard before."""

    def touch(self, worker: str, now: float) -> Host:
        """Something was heard from a host."""
        host = self.hosts.get(worker)
        if host is None:
            host = self.hosts[worker] = Host(worker, now)
            if self._longest_silent is None:
                self._longest_silent = now
        host.seen = now
        return host

    def supervise(self, host: Host, session: str) -> None:
        """A host's supervisor is there, for the first time or again."""
        self._supervisors.pop(host.session, None)
        host.session = session
        self._supervisors[session] = host.worker

    def supervised(self, session: str) -> Host | None:
        """The host of a supervisor."""
        worker = self._supervisors.get(session)
        return None if worker is None else self.hosts.get(worker)

    def forget(self, worker: str) -> Host | None:
        """A host is gone; tells whether it was known."""
        host = self.hosts.pop(worker, None)
        if host is not None:
            self._supervisors.pop(host.session, None)
        return host

    def silent(self, liveness: float, now: float) -> list[Host]:
        """The hosts that were silent for too long."""
        self._longest_silent = min((host.seen for host in self.hosts.values()), default=None)
        if self._longest_silent is None or now < self._longest_silent + liveness:
            return []
        return [host for host in self.hosts.values() if now >= host.seen + liveness]

    def add(self, session: str, worker: str, takes: tuple[str, ...]) -> Session:
        """A step process is there."""
        self.gone.pop(session, None)
        added = self.sessions[session] = self._unassigned[session] = Session(session, worker, takes)
        self._by_host.setdefault(worker, {})[session] = added
        return added

    def move(self, session: Session, worker: str) -> None:
        """A step process is on another host than it said."""
        del self._by_host[session.worker][session.id]
        session.worker = worker
        self._by_host.setdefault(worker, {})[session.id] = session

    def remove(self, session: Session, fate: Fate) -> None:
        """A step process is gone, or is to go."""
        del self.sessions[session.id]
        self._unassigned.pop(session.id, None)
        del self._by_host[session.worker][session.id]
        self.gone[session.id] = fate

    def of_host(self, worker: str) -> list[Session]:
        """The processes of a host."""
        return list(self._by_host.get(worker, {}).values())

    def idle(self) -> list[Session]:
        """Slots without a step."""
        for session in [session for session in self._unassigned.values() if session.step is not None]:
            del self._unassigned[session.id]
        return [session for session in self._unassigned.values() if not session.stopping]

    def silent_until(self, liveness: float) -> float | None:
        """When a host may count as lost: never too late, and too early where it was heard since the last look."""
        return None if self._longest_silent is None or not self.hosts else self._longest_silent + liveness


def at_work(session: Session) -> list[Work]:
    """The batches that a process works on; the others that it holds wait."""
    return list(islice(session.held.values(), session.at_once))


def since(session: Session, work: Work) -> float:
    """When a process got to a batch that it works on."""
    return session.since if session.at_once == 1 else work.since


def roomiest(sessions: Iterable[Session]) -> Session | None:
    """The process that holds least and has room."""
    best: Session | None = None
    for session in sessions:
        if session.room > 0 and (best is None or len(session.held) < len(best.held)):
            best = session
            if not best.held:
                # None can hold less. Of a thousand that wait for work, the others are not looked at.
                break
    return best
