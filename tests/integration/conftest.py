"""What scripts are started from: see `tests.warm.python`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.warm.python import warm_python


@pytest.fixture(scope="session", autouse=True)
def _warm() -> Iterator[None]:
    """There for the whole session, from before the first test that looks whether it leaves something behind."""
    with warm_python(os.environ):
        yield
