"""What a run needs at its end is imported while it goes on, piece by piece."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from distilmq.pipeline.warm_up import WarmUp

FIRST = """
import sys, time
sys.first_is_being_imported = True
while not hasattr(sys, "first_may_go_on"):
    time.sleep(0.001)
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "warm_first.py").write_text(FIRST)
    (tmp_path / "warm_second.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]  # pytest's own
    for name in ("first_is_being_imported", "first_may_go_on"):
        monkeypatch.delattr(sys, name, raising=False)
    names = ["warm_missing", "warm_first", "warm_second"]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    return names


def test_a_warm_up_imports_one_module_after_the_other(modules: list[str]) -> None:
    sys.first_may_go_on = True  # type: ignore[attr-defined]  # read by the module
    warm_up = WarmUp(modules)

    warm_up.start()

    assert warm_up.ended(10)
    assert [name for name in modules if name in sys.modules] == ["warm_first", "warm_second"]


def test_one_that_is_stopped_ends_with_the_module_at_hand(modules: list[str]) -> None:
    warm_up = WarmUp(modules)
    warm_up.start()
    while not hasattr(sys, "first_is_being_imported"):
        pass

    warm_up.stop()

    assert not warm_up.ended(0)
    sys.first_may_go_on = True  # type: ignore[attr-defined]  # read by the module
    assert warm_up.ended(10)
    assert [name for name in modules if name in sys.modules] == ["warm_first"]


def test_one_that_has_not_begun_is_over(modules: list[str]) -> None:
    warm_up = WarmUp(modules)

    warm_up.stop()

    assert warm_up.ended(10)
    assert not [name for name in modules if name in sys.modules]
