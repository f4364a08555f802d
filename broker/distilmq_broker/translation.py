"""What workers say, as events of the core."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from distilmq.protocol import messages
from distilmq.protocol.messages import ErrorInfo
from distilmq_broker.core import events
from distilmq_broker.core.events import Event
from distilmq_broker.incoming import ResultBytes
from distilmq_broker.payloads import array_length
from distilmq_broker.ports import LargePayload
from distilmq_broker.sessions import Member, Sessions

_BY_ORDER = (0, -signal.SIGTERM, -signal.SIGKILL)
"""Codes with which a process ends that was told to: by itself, or before it could listen."""


def joined(hello: messages.Hello) -> Event:
    """A supervisor or step process is there."""
    if hello.role == "supervisor":
        return events.SupervisorJoined(hello.session, hello.worker, hello.capacity)
    return events.WorkerJoined(hello.session, hello.worker, hello.steps, hello.step, hello.ready, hello.held)


def result(message: messages.Result, payload: Sequence[bytes]) -> Event:
    """A result; one whose payload cannot be what its header says fails its batch, whoever sent it."""
    if len(payload) == 1 and array_length(payload[0]) == message.rows:
        return _done(message, payload[0])
    return _no_result(message)


def large_result(message: messages.Result, payload: LargePayload | bytes | None) -> Event:
    """A result whose rows came in parts before it; None: they are not all here."""
    if isinstance(payload, bytes):
        return result(message, [payload])
    if payload is None:
        return events.PartCame(message.session, message.lease)
    if payload.whole and payload.rows == message.rows:
        return _done(message, payload)
    payload.abandon()
    return _no_result(message)


def _done(message: messages.Result, payload: object) -> Event:
    return events.BatchDone(
        message.session, message.lease, message.rows, payload, message.last, message.failures, message.counts
    )


def _no_result(message: messages.Result) -> Event:
    text = f"a result of {message.rows} rows came without a payload of as many rows"
    return events.BatchFailed(message.session, message.lease, ErrorInfo(type="RemoteProtocolError", message=text))


def stalled(note: messages.Note) -> Event | None:
    """The event in a note; None in one that is only for the user."""
    if note.event != "stalled":
        return None
    return events.WorkerStalled(note.child or note.session, note.text, note.lease)


def usage(message: messages.Message) -> Event | None:
    """What a step process says that it has had from models, beside whatever else it says; None if it says nothing."""
    match message:
        case messages.Answered() | messages.Result() | messages.Failed() | messages.Returned() if message.usage:
            return events.UsageCame(message.session, message.lease.step, message.usage)
        case messages.Heartbeat() | messages.Bye() if message.usage:
            return events.UsageCame(message.session, message.step, message.usage)
        case _:
            return None


def to_event(message: messages.Message, payload: Sequence[bytes], sender: Member, sessions: Sessions) -> Event | None:
    """The event in any other message of a worker; None for one that only the service deals with."""
    match message:
        case messages.Heartbeat(session=session, held=held, children=children):
            if sender.hello.role == "supervisor":
                return events.SupervisorBeat(session, children)
            return events.WorkerBeat(session, held)
        case messages.Ready(session=session, step=step, at_once=at_once):
            return events.WorkerReady(session, step, at_once)
        case messages.Want(session=session, batches=batches):
            return events.BatchesWanted(session, batches)
        case messages.FetchPart(session=session, lease=lease, cursor=cursor):
            return events.PartWanted(session, lease, cursor)
        case messages.Borrow():
            return loan_asked(message, message.session)
        case messages.LoadFailed(session=session, step=step, error=error):
            return events.LoadFailed(session, step, error)
        case messages.Failed(session=session, lease=lease, error=error):
            return events.BatchFailed(session, lease, error)
        case messages.Returned(session=session, lease=lease):
            return events.BatchReturned(session, lease)
        case messages.ResultPart(number=number, rows=rows) if len(payload) == 1:
            return events.PartCame(message.session, message.lease, ResultBytes(number, rows, payload[0]))
        case messages.Answered() if len(payload) == 1:
            return events.AnswerCame(
                message.session, message.lease, message.row, message.key, message.occurrence, payload[0]
            )
        case messages.Job():
            return events.JobPlanned(message.session, message.lease, message.job, message.size, message.requests)
        case messages.JobStarted(step=step, job=job, id=name):
            return events.JobStarted(step, job, name)
        case messages.JobEnded(step=step, job=job):
            return events.JobEnded(step, job)
        case messages.Exited(child=child, code=code, output=output, told=told):
            ended = sessions.find(child)
            leaving = ended is not None and ended.leaving
            return events.WorkerExited(child, code, output, expected=leaving or (told and code in _BY_ORDER))
        case messages.Bye(session=session) if sender.hello.role == "worker":
            return events.WorkerExited(session, 0, expected=True)
        case _:
            return None


def loan_asked(borrow: messages.Borrow, session: str) -> events.LoanAsked:
    """What a step process asks for, under the name that it has where it is lent."""
    return events.LoanAsked(
        session,
        borrow.account,
        borrow.told,
        borrow.wanted,
        borrow.out,
        borrow.held,
        borrow.asked,
        borrow.borrower,
        borrow.learnt,
        borrow.share,
        borrow.settled,
        borrow.leaving,
        borrow.heard,
    )
