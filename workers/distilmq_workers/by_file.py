"""Rows that go by way of shared files: written before the message that names them, read before it is judged."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from distilmq.protocol.messages import BatchPart, Message, ResultPart
from distilmq.protocol.seq_no import sort_key
from distilmq.transport.shared_files import SharedFiles, SharedFilesError


def put_away(files: SharedFiles, message: Message, payload: Sequence[bytes]) -> tuple[Message, Sequence[bytes]]:
    """A part of a result with its rows in a file; where that cannot be written, they go along after all."""
    if not isinstance(message, ResultPart):
        return message, payload
    lease = message.lease
    name = f"{message.session}-{sort_key(lease.seq_no)}-{lease.part}-{message.number}"
    try:
        file = files.write(name, payload[0])
    except SharedFilesError as error:
        print(f"{error}; its rows are sent to the coordinator itself", file=sys.stderr)
        return message, payload
    return message.model_copy(update={"file": file}), ()


def fetched(files: SharedFiles | None, message: Message, payload: Sequence[bytes]) -> Sequence[bytes] | None:
    """The payload of a message, wherever it is; None where it cannot be read: it will be asked for again."""
    if not isinstance(message, BatchPart) or message.file is None:
        return payload
    try:
        return None if files is None else [files.take(message.file)]
    except SharedFilesError as error:
        print(f"{error}; it is asked for again", file=sys.stderr)
        return None
