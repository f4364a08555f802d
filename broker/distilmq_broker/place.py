"""Where a broker keeps what it has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

BROKER_DIR_ENV_NAME = "DISTILMQ_BROKER_DIR"


def broker_dir(argument: str | None, environment: Mapping[str, str]) -> Path:
    """The broker's directory: the argument, else the environment, else a folder among the user's data."""
    chosen = argument or environment.get(BROKER_DIR_ENV_NAME)
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".local" / "share" / "distilmq" / "broker"
