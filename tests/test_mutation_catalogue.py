"""Every mutation still has the line that it makes wrong; whether the suite notices is what `-m mutations` tries."""

from __future__ import annotations

import pytest

from tests.mutations.run import ROOT, Mutation, catalogue


@pytest.mark.parametrize("mutation", catalogue(), ids=lambda mutation: mutation.name)
def test_its_line_stands_once(mutation: Mutation) -> None:
    code = (ROOT / mutation.file).read_text()

    assert code.count(mutation.old) == 1
    assert mutation.new != mutation.old
    assert all((ROOT / test.partition("::")[0]).exists() for test in mutation.tests)
