"""Tests that need what only root may do: elsewhere they are skipped and say why, or fail where none may be skipped."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def cannot(what: str, reason: str) -> NoReturn:
    """Gives a test up.

    Args:
        what: it needs.
        reason: why that cannot be had.
    """
    if "DISTILMQ_SKIP_NOTHING" in os.environ:
        pytest.fail(f"{what}: {reason}", pytrace=False)
    pytest.skip(f"{what}: {reason}; it takes root")
