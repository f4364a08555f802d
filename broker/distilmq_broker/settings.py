"""What the coordinator is told when it is started: read once, then passed on as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distilmq_broker.crash_points import CrashPoints, parse_crash_at

MAX_MESSAGE = 256 * 1024 * 1024
"""Bytes of the largest message; a sender refuses what is larger."""
MAX_PART = 8 * 1024 * 1024
"""Bytes of rows in one message to or from a worker: more go in parts."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """The coordinator of one run."""

    folder: Path
    """RUN_DIR."""
    endpoint: str
    cache_dir: Path
    lifeline: bool = True
    """Whether the end of standard input means that the client is gone."""
    broker: bool = False
    """Whether `endpoint` is a broker's socket for its coordinators, and not our own."""
    read_only: bool = False
    """Of a submitted run that is over: only answer what clients ask about it."""
    linger: float = 60.0
    """Of a submitted run that is over: seconds without a word of a client after which its coordinator may leave."""
    rotate_at: int = 256 * 1024 * 1024
    """Bytes after which a payload segment is closed and the next one begun."""
    checkpoint_after: int = 400
    """Commits after which the ledger's log is written back into the ledger."""
    max_part: int = MAX_PART
    """Bytes of rows in one message to or from a worker."""
    crash: CrashPoints = field(default_factory=CrashPoints)

    @property
    def run(self) -> str:
        """The run's id: the name of its folder."""
        return self.folder.name


def read_settings(
    folder: str,
    endpoint: str,
    cache_dir: str,
    *,
    lifeline: bool,
    broker: bool,
    read_only: bool,
    environment: Mapping[str, str],
) -> BrokerSettings:
    """Settings from the command line and, for tests, the environment."""
    path = Path(folder).expanduser().resolve()
    cache = Path(cache_dir).expanduser().resolve() if cache_dir else path.parent.parent
    return BrokerSettings(
        folder=path,
        endpoint=endpoint,
        cache_dir=cache,
        lifeline=lifeline,
        broker=broker,
        read_only=read_only,
        linger=float(environment.get("DISTILMQ_LINGER", 60.0)),
        rotate_at=int(environment.get("DISTILMQ_ROTATE_AT", 256 * 1024 * 1024)),
        checkpoint_after=int(environment.get("DISTILMQ_CHECKPOINT_AFTER", 400)),
        max_part=int(environment.get("DISTILMQ_MAX_PART", MAX_PART)),
        crash=parse_crash_at(environment.get("DISTILMQ_CRASH_AT", "")),
    )
