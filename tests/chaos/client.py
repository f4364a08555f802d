"""Whoever has submitted the run: looks at it, whatever becomes of the broker, and tells the model's key again."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from distilmq.protocol import messages
from distilmq.protocol.messages import runs
from tests.broker.front.brokers import BrokerClient, Program
from tests.broker.serving import Peer

RUN = "chaos"
LOOK_EVERY = 0.5
"""Seconds."""
PATIENCE = 3.0
"""Seconds without an answer after which it asks again: a broker that was killed has forgotten the question."""


class Client(threading.Thread):
    """Tells the key when the run begins, and again each time that the run says it waits for one.

    Args:
        program: the broker, which may be away.
        secrets: step to field to value.
        forgetful: seconds that it lets pass before it tells them again.
    """

    def __init__(self, program: Program, secrets: Mapping[str, Mapping[str, str]], forgetful: float) -> None:
        super().__init__(name="chaos-client")
        self._program = program
        self._secrets = {step: dict(fields) for step, fields in secrets.items()}
        self._forgetful = forgetful
        self._over = threading.Event()

    def run(self) -> None:
        """Until it is told to end."""
        self._tell()
        while not self._over.wait(LOOK_EVERY):
            if _waits(self._program) and not self._over.wait(self._forgetful):
                self._tell()

    def end(self) -> None:
        """Ends it."""
        self._over.set()
        self.join()

    def _tell(self) -> None:
        session = uuid.uuid4().hex[:8]
        connection = self._program.connection("client")
        # A broker that is away does not answer; the run goes on asking.
        peer = Peer("", "client", worker="client", session=session, run=RUN, connection=connection, patience=PATIENCE)
        with contextlib.suppress(AssertionError), peer:
            peer.hello()
            peer.send(messages.Secrets(session=session, values=self._secrets))


@contextmanager
def client_of_run(program: Program, secrets: Mapping[str, Mapping[str, str]], forgetful: float) -> Iterator[None]:
    """A client until the block ends."""
    client = Client(program, secrets, forgetful)
    client.start()
    try:
        yield
    finally:
        client.end()


def state(program: Program) -> str:
    """Of the run; empty while the broker does not answer."""
    with contextlib.suppress(AssertionError), BrokerClient(program, patience=PATIENCE) as client:
        return client.runs()[RUN].state
    return ""


def described(program: Program) -> str:
    """What is known of the run, for who has to find out why it does not end."""
    if (found := _shown(program)) is None:
        return "the broker does not answer"
    steps = () if found.progress is None else found.progress.steps
    lines = [f"{found.info.state} {found.info.reason}".strip()]
    lines += [f"{step.step}: {step.state}, {step.batches} batches, {step.ready} ready {step.note}" for step in steps]
    lines += [f"{worker.worker} has {worker.processes}" for worker in found.workers]
    lines += [f"{unmet.need}: {unmet.reason}" for unmet in found.unmet]
    return "\n    ".join(lines)


def _waits(program: Program) -> bool:
    found = _shown(program)
    steps = () if found is None or found.progress is None else found.progress.steps
    return any("waits for a secret" in step.note for step in steps)


def _shown(program: Program) -> runs.RunShown | None:
    with contextlib.suppress(AssertionError), BrokerClient(program, patience=PATIENCE) as client:
        return client.shown(RUN)
    return None
