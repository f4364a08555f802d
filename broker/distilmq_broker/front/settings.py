"""What a broker is told when it is started: read once, then passed on as values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ENDPOINT = "tcp://0.0.0.0:5555"


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """One broker."""

    folder: Path
    endpoint: str = DEFAULT_ENDPOINT
    host: str = ""
    """The name or address under which others reach this machine; empty for the machine's own name."""
    liveness: float = 15.0
    """Seconds without a beat after which a worker counts as lost."""
    tied: bool = False
    """Whether it ends when its standard input does."""


def broker_folder(given: str | None, environment: Mapping[str, str]) -> Path:
    """Where a broker keeps runs, keys and its log: as given, or DISTILMQ_BROKER_DIR, or among the user's data."""
    chosen = given or environment.get("DISTILMQ_BROKER_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    data = environment.get("XDG_DATA_HOME") or os.path.join(Path.home(), ".local", "share")
    return Path(data) / "distilmq" / "broker"
