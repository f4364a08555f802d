"""Tests that need what only root may do: elsewhere they are skipped and say why."""

from __future__ import annotations

from typing import NoReturn

import pytest


def cannot(what: str, reason: str) -> NoReturn:
    """Gives a test up.

    Args:
        what: it needs.
        reason: why that cannot be had.
    """
    pytest.skip(f"{what}: {reason}; it takes root")
