"""A pytest plugin: hypothesis stops at the first failure, as it is; to make it small would take minutes."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings


def pytest_configure(config: pytest.Config) -> None:
    """After the tests' own profile was loaded."""
    phases = [Phase.explicit, Phase.generate]
    settings.register_profile("no-shrinking", phases=phases, report_multiple_bugs=False, deadline=None)
    settings.load_profile("no-shrinking")
