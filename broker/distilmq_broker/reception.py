"""Taking what peers send: decoded, checked against who is known, and never let through when it is broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from distilmq.errors import RemoteProtocolError
from distilmq.protocol import messages
from distilmq.protocol.codec import FROM_PEER, decode
from distilmq.transport.ports import PeerId, Role
from distilmq_broker import translation
from distilmq_broker.clients import ClientDesk
from distilmq_broker.core.events import Event
from distilmq_broker.logbook import Logbook
from distilmq_broker.post import Post
from distilmq_broker.run import Run
from distilmq_broker.sessions import Member, Sessions

_LOGGED = 20
"""Broken messages that are logged one by one; beyond, every hundredth."""


Sayable = Mapping[Role, TypeAdapter[Any]]
"""What the peers of each role may say."""


class Reception:
    """Everything that comes in goes through `take`."""

    def __init__(
        self,
        *,
        welcome: Callable[[], messages.Welcome],
        desk: ClientDesk,
        sessions: Sessions,
        post: Post,
        log: Logbook,
        sayable: Sayable | None = None,
        borrow: Callable[[messages.Borrow], None] | None = None,
    ) -> None:
        self._sayable = sayable or {"any": FROM_PEER}
        self._borrow = borrow
        """Asks whoever lends of accounts, where that is not the core."""
        self._welcome = welcome
        self._desk = desk
        self._sessions = sessions
        self._post = post
        self._log = log
        self.broken = 0
        """Messages that were none."""

    def take(self, peer: PeerId, role: Role, frames: Sequence[bytes]) -> None:
        """Deals with one message; nothing in it can raise, and what the peer has no right to say is no message."""
        try:
            message, payload = decode(frames, self._sayable[role])
        except RemoteProtocolError as error:
            self._refuse(peer, error)
            return
        if isinstance(message, messages.Hello):
            self._hello(message, peer, role)
            return
        run = self._desk.run
        if run is not None and (usage := translation.usage(message)) is not None:
            # Whoever says it and whatever else the message is worth: it was paid for.
            self._handle(run, usage)
        sender = self._sessions.find(message.session)
        if sender is None or sender.peer != peer:
            self._post.send_to_peer(peer, messages.Who())
            # A result counts, whoever brings it: the lease says what it is worth.
            if isinstance(message, messages.Result) and run is not None:
                self._handle(run, _result(run, message, payload))
            return
        if isinstance(message, messages.Result):
            if run is not None:
                self._handle(run, _result(run, message, payload))
        elif sender.hello.role == "client":
            self._desk.take(message, payload, sender)
        elif run is not None:
            self._take_from_worker(run, message, payload, sender)

    def _take_from_worker(self, run: Run, message: messages.Message, payload: Sequence[bytes], sender: Member) -> None:
        if isinstance(message, messages.Note):
            self._note(message)
            if (stalled := translation.stalled(message)) is not None:
                self._handle(run, stalled)
            return
        if isinstance(message, messages.Borrow) and self._borrow is not None:
            self._borrow(message)
        if isinstance(message, messages.Artifact):
            reason = run.files.take(message, b"".join(payload))
            if reason is not None:
                self._log.warning("artifact_not_kept", step=message.step, worker=sender.hello.worker, reason=reason)
            return
        if isinstance(message, messages.FetchFile):
            part = messages.FilePart(path=message.path, offset=message.offset)
            self._post.send(message.session, part, [run.files.data_part(message.path, message.offset)])
            return
        if isinstance(message, messages.ResultPart) and (file := message.file) is not None:
            run.passing.fetch(message, file, lambda data: self._judge(run, message, [data], sender))
            return
        self._judge(run, message, payload, sender)

    def _judge(self, run: Run, message: messages.Message, payload: Sequence[bytes], sender: Member) -> None:
        event = translation.to_event(message, payload, sender, self._sessions)
        if event is not None:
            self._log_event(message)
            self._handle(run, event)
        if isinstance(message, messages.Heartbeat):
            sender.children = message.children
        if isinstance(message, messages.Exited):
            self._sessions.leave(message.child)
        if isinstance(message, messages.Bye):
            self._sessions.leave(message.session)

    def _handle(self, run: Run, event: Event) -> None:
        # What still comes in behind the end changes nothing, but a result is acknowledged by the core.
        run.handle(event)

    def _hello(self, hello: messages.Hello, peer: PeerId, role: Role) -> None:
        run = self._desk.run
        refusal = _out_of_role(hello, role) or self._desk.refusal_of(hello)
        if refusal is not None:
            self._log.warning("peer_refused", worker=hello.worker, reason=refusal.reason)
            self._post.send_to_peer(peer, refusal)
            if run is not None and "client" not in {role, hello.role}:
                run.slots.refuse(hello.worker, "", f"{refusal.reason}; {refusal.fix}")
            return
        self._sessions.join(hello, peer)
        self._log.info("joined", role=hello.role, worker=hello.worker, session=hello.session, pid=hello.pid)
        self._post.send(hello.session, self._welcome())
        if hello.role == "client" or run is None:
            return
        self.introduce(run, hello)

    def introduce(self, run: Run, hello: messages.Hello) -> None:
        """Tells the core of a worker."""
        if hello.role == "supervisor":
            run.slots.joined(hello)
        run.handle(translation.joined(hello))

    def _note(self, note: messages.Note) -> None:
        write = {"debug": self._log.debug, "info": self._log.info, "warning": self._log.warning}
        lease = note.lease.model_dump() if note.lease else None
        write.get(note.level, self._log.error)(note.event, step=note.step, text=note.text, lease=lease)
        if note.level != "debug":
            for member in self._sessions.watchers():
                self._post.send(member.hello.session, note)

    def _log_event(self, message: messages.Message) -> None:
        match message:
            case messages.Ready(session=session, step=step):
                self._log.info("worker_ready", session=session, step=step)
            case messages.LoadFailed(step=step, error=error):
                self._log.error("load_failed", step=step, error=f"{error.type}: {error.message}")
            case messages.Failed(lease=lease, error=error):
                where = lease.model_dump()
                self._log.error("batch_failed", lease=where, error=f"{error.type}: {error.message}")
            case messages.Exited(child=child, code=code, output=output):
                self._log.info("worker_exited", session=child, code=code, output=output if code else "")
            case _:
                return

    def _refuse(self, peer: PeerId, error: RemoteProtocolError) -> None:
        self.broken += 1
        if self.broken <= _LOGGED or self.broken % 100 == 0:
            self._log.warning("broken_message", reason=str(error), count=self.broken)
        if not any(member.peer == peer for member in self._sessions.members.values()):
            self._post.send_to_peer(peer, messages.Refused(reason=str(error)))


def _result(run: Run, message: messages.Result, payload: Sequence[bytes]) -> Event:
    if not message.parts:
        return translation.result(message, payload)
    return translation.large_result(message, run.incoming.whole(message.session, message.lease, message.parts))


def _out_of_role(hello: messages.Hello, role: Role) -> messages.Refused | None:
    """Why a peer may not be what it says it is: its key is of the other kind."""
    if role == "any" or (hello.role == "client") == (role == "client"):
        return None
    return messages.Refused(
        reason=f"a {role}'s key does not open the door to a {hello.role}",
        fix="use the connection file that was made for that",
    )
