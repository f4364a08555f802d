"""Steps and functions as bytes: importable code by name, everything else by value.

Code of `__main__` and of notebooks goes by value of itself. So does code of a module that a worker would not
find, or would find as another file: one that was loaded by its path, or written into the session.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretBytes, SecretStr

from distilmq.errors import DistilmqUserError
from distilmq.mixins.secrets import nested_models
from distilmq.pipeline import by_value
from distilmq.pipeline.dag import copied_step
from distilmq.pipeline.unpicklable import culprit
from distilmq.steps.base import _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of it
from distilmq.utils.carried_modules import Carried
from distilmq.utils.code import is_user_code
from distilmq.utils.imported_code import SourceModule, modules_of

if TYPE_CHECKING:
    from collections.abc import Generator


def pickled_step(step: _Step, *, travels: bool = False) -> bytes:
    """A step with everything it holds, except its secrets.

    Args:
        step: to be pickled.
        travels: it is loaded where the user's modules are not: all of them that are imported here go with it.

    Raises:
        DistilmqUserError: it holds something that cannot be pickled; the message names it.
    """
    copy = copied_step(step)
    _forget_secrets(copy)
    return _pickled(copy, f"Step '{step.name}'", _modules_of_model(copy), travels=travels)


def pickled_function(function: Callable[..., Any], what: str, *, travels: bool = False) -> bytes:
    """A function, as `pickled_step` a step.

    Raises:
        DistilmqUserError: it refers to something that cannot be pickled.
    """
    return _pickled(function, what, [getattr(function, "__module__", None) or "__main__"], travels=travels)


def is_importable(module: ModuleType) -> bool:
    """Whether another process with this `sys.path` imports the same file under that name."""
    path: Any = None
    found = None
    parts = module.__name__.split(".")
    for count in range(1, len(parts) + 1):
        found = _find(".".join(parts[:count]), path)
        if found is None:
            return False
        path = found.submodule_search_locations
    file = getattr(module, "__file__", None)
    if found is None or found.origin is None or file is None:
        return found is not None and found.origin in ("built-in", "frozen")
    return Path(found.origin).resolve() == Path(file).resolve()


def _pickled(value: object, what: str, modules: Iterable[str], *, travels: bool) -> bytes:
    with _by_value(_users_modules() if travels else modules, also_importable=travels):
        try:
            definition = by_value.dumps(value)
        except Exception as error:
            found = culprit(value)
            named = f"{found} cannot be pickled" if found else "it holds something that cannot be pickled"
            raise DistilmqUserError(
                f"{what} cannot be sent to a worker, since {named}: {error}. {_remedy(found)}"
            ) from error
    return by_value.dumps(Carried(definition, _sources(frozenset(_users_modules())))) if travels else definition


@cache
def _sources(modules: frozenset[str]) -> list[SourceModule]:
    """What code of these modules may import when it runs, where nothing of this machine is."""
    return modules_of(sorted(modules))


def _remedy(found: str | None) -> str:
    if found is not None and "variable" in found:
        return "Create it within the function, or in the `load()` of a step class, which runs in the worker."
    return "Create it in `load()`, which runs in the worker, and keep it in a private attribute."


@contextmanager
def _by_value(modules: Iterable[str], *, also_importable: bool) -> Generator[None]:
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types

    pickle: Any = cloudpickle
    registered: set[str] = set(pickle.list_registry_pickle_by_value())
    added: list[ModuleType] = []
    for name in dict.fromkeys(modules):
        module = sys.modules.get(name)
        if module is None or name in registered or name == "__main__" or not is_user_code(name):
            continue
        if also_importable or not is_importable(module):
            pickle.register_pickle_by_value(module)
            added.append(module)
    try:
        yield
    finally:
        for module in added:
            pickle.unregister_pickle_by_value(module)


def _users_modules() -> list[str]:
    """All modules of the user's that are imported: those with a file that no package has brought."""
    return [
        name for name, module in list(sys.modules.items()) if getattr(module, "__file__", None) and is_user_code(name)
    ]


def _forget_secrets(model: BaseModel) -> None:
    """Also in models of the user's own, which do not leave them out when they are pickled."""
    private: dict[str, Any] = model.__pydantic_private__ or {}
    if "_runtime_parameters" in private:  # what `run(parameters=…)` was given, in clear
        private["_runtime_parameters"] = {}
    for name in type(model).model_fields:
        value = model.__dict__.get(name)
        if isinstance(value, (SecretStr, SecretBytes)):
            vars(model)[name] = None
        for _, child in nested_models(value):
            _forget_secrets(child)


def _modules_of_model(model: BaseModel) -> Iterator[str]:
    for base in type(model).__mro__:
        yield base.__module__
    for name, value in model.__dict__.items():
        if name == "pipeline":
            continue
        if isinstance(value, type) or callable(value):
            yield getattr(value, "__module__", None) or "__main__"
        for _, child in nested_models(value):
            yield from _modules_of_model(child)


def _find(name: str, path: Any) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        found = finder.find_spec(name, path)
        if found is not None:
            return found
    return None
