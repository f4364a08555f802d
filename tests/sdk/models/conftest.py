"""What the tests of single providers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.providers import ProviderServer


@pytest.fixture
def provider_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    """A server that every provider's class finds by the environment."""
    with ProviderServer() as running:
        for name, value in running.env(tmp_path).items():
            monkeypatch.setenv(name, value)
        yield running
