"""Who is connected: a session is one life of a peer's process, a `PeerId` one connection of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from distilmq.protocol.messages import Hello
from distilmq.transport.ports import PeerId


@dataclass(slots=True)
class Member:
    """A peer that has said Hello."""

    hello: Hello
    peer: PeerId
    leaving: bool = False
    """It was told to stop, or has said Bye: its end is no accident."""
    watching: bool = False
    """A client that wants `Progress`."""
    children: tuple[str, ...] = ()
    """Of a supervisor: the sessions of its processes, as it said last."""


@dataclass(slots=True)
class Sessions:
    """Every session that is known, with the connection it was last heard on."""

    members: dict[str, Member] = field(default_factory=dict[str, Member])
    _by_role: dict[str, dict[str, Member]] = field(default_factory=dict[str, dict[str, Member]])

    def join(self, hello: Hello, peer: PeerId) -> Member:
        """A peer said Hello, for the first time or again, maybe on another connection."""
        known = self.members.get(hello.session)
        member = Member(hello, peer)
        if known is not None:
            member.watching, member.children = known.watching, known.children
        self.leave(hello.session)
        self.members[hello.session] = member
        self._by_role.setdefault(hello.role, {})[hello.session] = member
        return member

    def leave(self, session: str) -> None:
        """A peer is gone."""
        member = self.members.pop(session, None)
        if member is not None:
            del self._by_role[member.hello.role][session]

    def find(self, session: str) -> Member | None:
        """The member of that session, or None for one that is not known."""
        return self.members.get(session)

    def known_on(self, session: str, peer: PeerId) -> bool:
        """Whether the session is known on just this connection."""
        member = self.members.get(session)
        return member is not None and member.peer == peer

    def supervisors(self) -> list[Member]:
        """The supervisors, in the order in which they came."""
        return list(self._by_role.get("supervisor", {}).values())

    def supervisor_of(self, session: str) -> Member | None:
        """The supervisor of a step process: the one that names it, else the one on its host, by name."""
        naming = next((member for member in self.supervisors() if session in member.children), None)
        member = self.members.get(session)
        if naming is not None or member is None:
            return naming
        return self.supervisor(member.hello.worker)

    def supervisor(self, worker: str) -> Member | None:
        """The supervisor of that name; where one was killed and another follows it, the other."""
        found = [member for member in self.supervisors() if member.hello.worker == worker]
        return found[-1] if found else None

    def watchers(self) -> list[Member]:
        """The clients that want `Progress`."""
        return [member for member in self.clients() if member.watching]

    def clients(self) -> list[Member]:
        """Everyone who can be told how the run ends."""
        return list(self._by_role.get("client", {}).values())
