"""The process that runs routing functions: `python -m distilmq_broker.adapters.routing_child DESCRIPTOR PARENT`.

It reads the pickled functions by step, then questions `[number, step, successors]`, and answers `[number, names]`
or `[number, type, message, traceback]`, each as msgpack. It imports as little as it can: user code is loaded
here, and nowhere else in the broker.
"""

from __future__ import annotations

import signal
import socket
import sys
import traceback
from typing import IO, Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types

from distilmq.protocol.packing import pack, unpack
from distilmq_broker.adapters.framing import LENGTH, framed
from distilmq_broker.adapters.processes import die_with_parent

_cloudpickle: Any = cloudpickle


def main() -> None:
    """Answers questions until the coordinator closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as channel, channel.makefile("rb") as stream:
        functions: dict[str, Any] = unpack(_read(stream))
        while question := _read(stream):
            number, step, successors = unpack(question)
            channel.sendall(framed(pack([number, *_answer(functions, step, successors)])))


def _read(stream: IO[bytes]) -> bytes:
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if head else b""


def _answer(functions: dict[str, Any], step: str, successors: list[str]) -> list[Any]:
    try:
        if isinstance(functions[step], bytes):
            functions[step] = _cloudpickle.loads(functions[step])
        choice: Any = functions[step](list(successors))
    except Exception as error:  # noqa: BLE001  # the user's code: whatever it raises is the answer
        return [type(error).__name__, str(error), traceback.format_exc()]
    if isinstance(choice, list | tuple):
        names: list[Any] = list(choice)  # pyright: ignore[reportUnknownArgumentType]  # the user's value
        if all(isinstance(name, str) for name in names):
            return [names]
    return [f"{choice!r:.200}"]


if __name__ == "__main__":
    main()
