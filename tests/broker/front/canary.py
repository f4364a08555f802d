"""The canary in every message that could carry it to somebody who loads pickles."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

from distilmq.protocol import messages
from distilmq.protocol.codec import encode
from distilmq.protocol.messages import broker
from distilmq.protocol.plan import Plan, RouteSpec, encode_plan
from distilmq.protocol.rows import encode_rows
from distilmq.transport.addressed import BROKER, with_address
from tests.broker.serving import chain
from tests.canary import Canary

CANARY_RUN = "canary"


def canary_plan(code: bytes) -> Plan:
    """A plan whose steps and routing function are the canary."""
    plan = chain("load", "left", routes=[RouteSpec(step="load", function=code)])
    steps = tuple(step.model_copy(update={"definition": code}) for step in plan.steps)
    return plan.model_copy(update={"steps": steps})


def canary_messages(path: Path, run: str, session: str) -> Iterator[list[bytes]]:
    """Frames to a broker: the canary as a plan, a step, a result, an answer, and the value of a row."""
    code = pickle.dumps(Canary(path))
    plan = encode_plan(canary_plan(code))
    lease = messages.Lease(step="load", seq_no=(0,))
    rows = encode_rows([{"text": code}])
    error = messages.ErrorInfo(type="Canary", message="", pickled=code)
    said: list[tuple[messages.Message, bytes]] = [
        (messages.Submit(session=session), plan),
        (messages.Assign(step="load", replica=0), code),
        (messages.Result(session=session, lease=lease, rows=1), code),
        (messages.Result(session=session, lease=lease, rows=1), rows),
        (messages.Answered(session=session, lease=lease, row=0, key=b"key"), code),
        (messages.Answered(session=session, lease=lease, row=0, key=b"key"), rows),
        (messages.Failed(session=session, lease=lease, error=error), code),
        (messages.Finished(outcome="failed", error=error), code),
    ]
    yield with_address(BROKER, encode(broker.StartRun(session=session, run=CANARY_RUN), [plan]))
    for address in (BROKER, run, CANARY_RUN):
        yield with_address(address, encode(messages.Hello(role="client", worker="rogue", session=session)))
        for message, payload in said:
            yield with_address(address, encode(message, [payload]))
