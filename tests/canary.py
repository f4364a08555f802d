"""A value whose pickle makes a file when somebody loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Canary:
    """Loading its pickle makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")
