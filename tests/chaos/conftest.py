"""The marker of chaos."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Names the marker by which it is chosen, or left out."""
    config.addinivalue_line("markers", "chaos: processes are killed and frozen, and links cut, by seeds; minutes")
