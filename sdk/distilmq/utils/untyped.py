"""Importing heavy libraries that ship no types, where they are first needed."""

from __future__ import annotations

import importlib
from typing import Any


def untyped(module: str) -> Any:
    """A module whose attributes are taken as they are: `datasets`, `pyarrow`, `pandas`."""
    return importlib.import_module(module)
