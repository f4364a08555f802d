"""Applies mutations to copies of the tree, and runs the tests that must notice.

By hand: `python -m tests.mutations.run [NAME…]`; as tests: `pytest -m mutations tests/mutations`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CATALOGUE = Path(__file__).with_name("mutations.toml")
PACKAGES = {"sdk": "sdk/distilmq", "broker": "broker/distilmq_broker", "workers": "workers/distilmq_workers"}
TESTS_FAILED = 1
"""pytest's exit code; every higher one means that nothing was tested."""
PATIENCE = 600


@dataclass(frozen=True)
class Mutation:
    """One place in the code, made wrong."""

    name: str
    law: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, tree: Path) -> None:
        """Changes the file in a copy of the tree.

        Raises:
            LookupError: the code has moved on, and the mutation with it must.
        """
        path = tree / self.file
        code = path.read_text()
        if code.count(self.old) != 1:
            raise LookupError(f"{self.name}: in {self.file} this stands {code.count(self.old)} times:\n{self.old}")
        path.write_text(code.replace(self.old, self.new))


def catalogue() -> list[Mutation]:
    """All mutations."""
    entries = tomllib.loads(CATALOGUE.read_text())["mutation"]
    return [Mutation(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


@contextmanager
def copied_tree() -> Iterator[Path]:
    """A copy of packages and tests that can be spoilt."""
    with tempfile.TemporaryDirectory(prefix="distilmq-mutation-") as folder:
        tree = Path(folder)
        ignored = shutil.ignore_patterns("__pycache__", "results", "benchmarks", "docs")
        for part in (*PACKAGES, "tests"):
            shutil.copytree(ROOT / part, tree / part, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", tree)
        yield tree


def run_tests(tree: Path, tests: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """The tests of a copy, on the packages of that copy, up to the first that fails."""
    packages = os.pathsep.join(str(tree / part) for part in PACKAGES)
    environment = {**os.environ, "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-x", "--timeout=120", "-p", "no:cacheprovider", "-p", "tests.mutations.no_shrinking"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=PATIENCE)


def survives(mutation: Mutation) -> str | None:
    """What the tests said if none of them failed; None when the mutation was noticed."""
    with copied_tree() as tree:
        mutation.apply(tree)
        ran = run_tests(tree, mutation.tests)
    return None if ran.returncode == TESTS_FAILED else ran.stdout + ran.stderr


def main(names: Sequence[str]) -> int:
    """Tries mutations, all or those named; the result is how many survived."""
    survivors = 0
    for mutation in catalogue():
        if names and mutation.name not in names:
            continue
        said = survives(mutation)
        survivors += said is not None
        print(f"{'noticed ' if said is None else 'SURVIVES'}  {mutation.name}: {mutation.law}", flush=True)
        if said is not None:
            print(said)
    return survivors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
