"""The examples in the docstrings of the SDK run, each as a script."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.scripts import run_script
from tests.docs.world import World, running_world

_FENCE = re.compile(r"^( *)```python\n(.*?)^ *```$", re.M | re.S)


def examples() -> Iterator[tuple[str, str]]:
    """Where each example stands, and its code."""
    for path in sorted((ROOT / "sdk" / "distilmq").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                owner = getattr(node, "name", "module")
                for place, found in enumerate(_FENCE.finditer(ast.get_docstring(node) or "")):
                    name = f"{path.relative_to(ROOT / 'sdk')}:{owner}" + (f":{place}" if place else "")
                    yield name, inspect.cleandoc(found[2])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in examples()])
def test_the_example_of_a_docstring_runs(code: str, world: World, tmp_path: Path) -> None:
    ran = run_script(code, tmp_path, world.environment)

    assert ran.code == 0, f"{code}\n{ran.text}"
