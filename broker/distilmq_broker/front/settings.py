"""What a broker is told when it is started: read once, then passed on as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_ENDPOINT = "tcp://0.0.0.0:5555"


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """One broker."""

    folder: Path
    endpoint: str = DEFAULT_ENDPOINT
    host: str = ""
    """The name under which others reach this machine; its own name when it is empty."""
