"""The user's modules where nothing of the user's machine is: they go along as source, and imports find them."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import CodeType, ModuleType
from typing import Any

from distilmq.utils.imported_code import SourceModule


class Carried:
    """Something pickled, with the modules that its code may import; unpickled, it is what was pickled.

    Args:
        definition: by pickle.
        modules: the user's.
    """

    def __init__(self, definition: bytes, modules: Iterable[SourceModule]) -> None:
        self._definition = definition
        self._modules = [(module.name, module.file, module.source, module.is_package) for module in modules]

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, (self._definition, self._modules)


def unpacked(definition: bytes, modules: Sequence[tuple[str, str, str, bool]]) -> Any:
    """What was pickled; from now on this process imports the modules that came with it.

    Args:
        definition: by pickle.
        modules: name, file, source, and whether it is a package.
    """
    found = [SourceModule(*module) for module in modules]
    finder = next((each for each in sys.meta_path if isinstance(each, _CarriedModules)), None)
    if finder is None:
        finder = _CarriedModules()
        # First: a module of the same name that happens to be here is another one.
        sys.meta_path.insert(0, finder)
    finder.modules.update({module.name: module for module in found})
    return pickle.loads(definition)


class _CarriedModules(MetaPathFinder, InspectLoader):
    """Finds modules that came with what was unpickled."""

    def __init__(self) -> None:
        self.modules: dict[str, SourceModule] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        module = self.modules.get(fullname)
        if module is None:
            return None
        spec = spec_from_loader(fullname, self, origin=module.file or None, is_package=module.is_package)
        if spec is not None:
            spec.has_location = bool(module.file)
        return spec

    def is_package(self, fullname: str) -> bool:
        return self.modules[fullname].is_package

    def get_source(self, fullname: str) -> str:
        return self.modules[fullname].source

    def get_code(self, fullname: str) -> CodeType:
        module = self.modules[fullname]
        return self.source_to_code(module.source, module.file or f"<{fullname}>")
