"""Where a worker connects to: a socket of this user's own, or a broker behind keys."""

from __future__ import annotations

import os

from distilmq.transport.zeromq import LINGER, ZeromqConnection, connect


def reach(target: str, *, linger: float = LINGER) -> ZeromqConnection:
    """A connection.

    Args:
        target: `ipc://<path>`; a connection file; an address, for which `DISTILMQ_CONNECTION` names the file.
        linger: seconds that closing waits for what is still to be sent.

    Raises:
        DistilmqUserError: there is no connection file that can be used.
    """
    if target.startswith("ipc://"):
        return connect(target, linger=linger)
    # Here, not above: a run on one machine needs no keys.
    from distilmq.transport.connection_file import find_connection

    return find_connection(target, role="worker", environment=os.environ).connect(linger=linger)
