"""The user's modules that code imports, also when it runs (`def process(...): import helpers`), as their source.

They are looked for and read, never imported: what they say is the same whether they have been imported or not.
Whole modules count, with the modules of the user's that they import themselves.
"""

from __future__ import annotations

import ast
import dis
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from pathlib import Path

from distilmq.utils.source import plain_source

_STDLIB = frozenset(sys.stdlib_module_names)
_INSTALLED = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sysconfig.get_path("stdlib")})
_FOLDERS_OF_PACKAGES = frozenset({"site-packages", "dist-packages"})
"""Also outside this environment: of `pip install --user`, of the system, of an environment beneath this one."""


def is_installed(file: str) -> bool:
    """Whether a module's file lies where packages lie that are not the user's."""
    return file.startswith(_INSTALLED) or not _FOLDERS_OF_PACKAGES.isdisjoint(Path(file).parts)


def imported_sources(code: types.CodeType, package: str | None, seen: set[str]) -> Iterator[str]:
    """Name and source of each of the user's modules that a function imports, and of those that they import.

    Args:
        code: of the function.
        package: it is in, for relative imports.
        seen: modules that were told; grows.
    """
    for name in _imports_of(code, package):
        for module in _reached(name, seen):
            if module.file:
                yield f"module {module.name}"
                yield plain_source(ast.parse(module.source))


@dataclass(frozen=True, slots=True)
class SourceModule:
    """One of the user's modules; what only holds others (a folder without `__init__.py`) has no source."""

    name: str
    file: str
    source: str
    is_package: bool


def modules_of(names: Iterable[str]) -> list[SourceModule]:
    """The user's modules of these names, those that they import, and the packages that they are in, by name.

    Args:
        names: of modules that are imported; of the script (`__main__`), only what it imports is given.
    """
    seen: set[str] = set()
    found: dict[str, SourceModule] = {}
    for name in names:
        for each in _imported_by_script() if name == "__main__" else [name]:
            found |= {module.name: module for module in _reached(each, seen, packages=True)}
    return [found[name] for name in sorted(found)]


def _imported_by_script() -> Iterator[str]:
    script = sys.modules["__main__"]
    if (tree := _parsed(getattr(script, "__file__", None))) is not None:
        for node in ast.walk(tree):
            yield from _imported_by(node, script.__package__ or "")


def _reached(name: str, seen: set[str], *, packages: bool = False) -> Iterator[SourceModule]:
    """A module and what it imports; with the packages that they are in, where they are to be imported."""
    if name in seen:
        return
    seen.add(name)
    parent = name.rpartition(".")[0]
    if packages and parent:
        yield from _reached(parent, seen, packages=True)
    if (spec := _spec(name)) is None:
        return
    is_package = spec.submodule_search_locations is not None
    tree = _parsed(spec.origin)
    if tree is None:
        if is_package and spec.origin is None:
            yield SourceModule(name, "", "", is_package=True)
        return
    yield SourceModule(name, str(spec.origin), Path(str(spec.origin)).read_text(), is_package)
    package = name if is_package else parent
    for node in ast.walk(tree):
        for imported in _imported_by(node, package):
            yield from _reached(imported, seen, packages=packages)


def _parsed(file: str | None) -> ast.Module | None:
    """Of a file with Python's source; None for any other, which its import will speak of."""
    if file is None or not file.endswith(".py"):
        return None
    try:
        return ast.parse(Path(file).read_text())
    except (OSError, SyntaxError, ValueError):
        return None


def _imports_of(code: types.CodeType, package: str | None) -> Iterator[str]:
    instructions = list(dis.get_instructions(code))
    for place, instruction in enumerate(instructions):
        if instruction.opname != "IMPORT_NAME":
            continue
        level, names = instructions[place - 2].argval, instructions[place - 1].argval
        yield from _named(str(instruction.argval), names or (), level or 0, package)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _imports_of(constant, package)


def _named(module: str, names: tuple[str, ...], level: int, package: str | None) -> Iterator[str]:
    """The dotted modules that an import may mean: of `from a import b` that is `a` and, where it is one, `a.b`."""
    if level:
        try:
            module = resolve_name("." * level + module, package)
        except ImportError:
            return
    yield module
    for name in names:
        yield f"{module}.{name}"


def _imported_by(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        yield from _named(node.module or "", tuple(alias.name for alias in node.names), node.level, package)


def _spec(name: str) -> ModuleSpec | None:
    """Where one of the user's modules is; None for any other module, and for what is no module."""
    top, *rest = name.split(".")
    if top in _STDLIB or top in ("distilmq", "distilmq_broker", "distilmq_workers"):
        return None
    spec = PathFinder.find_spec(top)
    if spec is None or is_installed(spec.origin or ""):
        return None
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    return spec
