"""Keeps mutations out of every run that does not ask for them: they take minutes."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Names the marker."""
    config.addinivalue_line("markers", "mutations: spoils copies of the code; run by `pytest -m mutations`")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Passes over the tests of this folder unless `-m` names the marker."""
    return None if "mutations" in config.option.markexpr else True
