"""A coordinator on a real socket that says what a test tells it to."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from distilmq.protocol import codec
from distilmq.protocol.messages import Hello, Message, Welcome
from distilmq.transport.ports import Listener, PeerId
from distilmq.transport.zeromq import listen

Answers = Sequence[Message | tuple[Message, bytes]]

WELCOME = Welcome(run="run", epoch=1, heartbeat=1.0, liveness=15.0, max_message=1_000_000)


@dataclass
class ScriptedCoordinator:
    """Answers each message with what `script` gives for it, and keeps what it received."""

    endpoint: str
    script: Callable[[Message, list[bytes]], Answers]
    received: list[Message] = field(default_factory=list)

    def kinds(self) -> list[str]:
        """What was received, by name."""
        return [type(message).__name__ for message in self.received]

    def serve(self, listener: Listener, over: threading.Event) -> None:
        """Until it is over."""
        while not over.is_set():
            listener.poll(0.05)
            while (received := listener.receive()) is not None:
                self._answer(listener, *received)

    def _answer(self, listener: Listener, peer: PeerId, frames: list[bytes]) -> None:
        message, payload = codec.decode(frames, codec.FROM_PEER)
        self.received.append(message)
        if isinstance(message, Hello):
            listener.send(peer, codec.encode(WELCOME))
        for answer in self.script(message, payload):
            said, parts = (answer[0], [answer[1]]) if isinstance(answer, tuple) else (answer, [])
            listener.send(peer, codec.encode(said, parts))


@contextmanager
def scripted_coordinator(script: Callable[[Message, list[bytes]], Answers]) -> Iterator[ScriptedCoordinator]:
    """One that serves in a thread while the block runs."""
    folder = tempfile.mkdtemp(prefix="dmq-")
    listener = listen(f"ipc://{folder}/c")
    coordinator = ScriptedCoordinator(f"ipc://{folder}/c", script)
    over = threading.Event()
    thread = threading.Thread(target=coordinator.serve, args=(listener, over))
    thread.start()
    try:
        yield coordinator
    finally:
        over.set()
        thread.join()
        listener.close()
        shutil.rmtree(folder)
