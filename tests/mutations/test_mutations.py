"""The suite notices when a law is broken: each line that holds one is made wrong, and the tests named with it fail."""

from __future__ import annotations

import pytest

from tests.mutations.run import PATIENCE, Mutation, catalogue, copied_tree, run_tests, survives

pytestmark = [pytest.mark.mutations, pytest.mark.timeout(PATIENCE + 60)]


def test_without_a_mutation_all_tests_pass() -> None:
    tests = dict.fromkeys(test for mutation in catalogue() for test in mutation.tests)

    with copied_tree() as tree:
        ran = run_tests(tree, tests)

    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("mutation", catalogue(), ids=lambda mutation: mutation.name)
def test_it_is_noticed(mutation: Mutation) -> None:
    assert survives(mutation) is None, f"no test notices that this is broken: {mutation.law}"
