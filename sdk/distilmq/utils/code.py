"""What a class or function of the user's does, as a digest that changes when the code does.

Code of distilmq and of installed packages goes by its name: it changes with their versions, and results that
cost money shall outlive an update. The user's own code goes by its source without comments and docstrings, and
so do the functions and classes that it uses, of its own module and of others of the user; other values go by what
they hold.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Iterator
from typing import Any, cast

from distilmq.utils.imported_code import imported_sources, is_installed
from distilmq.utils.source import plain_source
from distilmq.utils.state import state_digest

_STDLIB = frozenset(sys.stdlib_module_names)
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def code_digest(code: Any) -> str:
    """A digest of a class or function, of the user's bases and of what it uses."""
    seen: dict[int, Any] = {}
    parts = list(_parts(code, seen))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def is_user_code(module: str | None) -> bool:
    """Whether a module is the user's: neither distilmq's nor installed."""
    top = (module or "").partition(".")[0]
    if not top or top == "distilmq" or top == "builtins" or (top in _STDLIB and top != "__main__"):
        return False
    file = getattr(sys.modules.get(cast("str", module)), "__file__", None)
    return file is None or not is_installed(str(file))


def _parts(code: Any, seen: dict[int, Any]) -> Iterator[str]:
    """What is said of a class, function or value; `seen` keeps each alive, so that its id stays its own."""
    if id(code) in seen:
        return
    seen[id(code)] = code
    if isinstance(code, type):
        yield from _class_parts(cast("type[Any]", code), seen)
    elif _is_function(code):
        yield from _function_parts(inspect.unwrap(code), seen)
    elif isinstance(code, types.ModuleType):
        yield f"module {code.__name__}"
    elif isinstance(code, (staticmethod, classmethod)):
        yield from _parts(cast("Any", code).__func__, seen)
    elif isinstance(code, property):
        for function in (code.fget, code.fset):
            if function is not None:
                yield from _parts(function, seen)
    else:
        yield from _value_parts(code, seen)


def _is_function(code: Any) -> bool:
    """Whether it is one, or what `lru_cache` made of one."""
    kinds = (types.FunctionType, types.MethodType)
    return isinstance(code, kinds) or isinstance(getattr(code, "__wrapped__", None), types.FunctionType)


def _class_parts(code: type[Any], seen: dict[int, Any]) -> Iterator[str]:
    yield f"class {code.__module__}.{code.__qualname__}" if not is_user_code(code.__module__) else code.__qualname__
    for base in code.__mro__:
        if not is_user_code(base.__module__):
            continue
        source = _source(base)
        if source is not None:
            yield source
        for name, member in base.__dict__.items():
            if isinstance(member, (types.FunctionType, staticmethod, classmethod, property)):
                if source is None:
                    yield name
                yield from (_parts(member, seen) if source is None else _used_by_member(member, seen))
            elif source is None and isinstance(member, _PLAIN) and not name.startswith("__"):
                yield f"{name}={member!r}"


def _used_by_member(member: Any, seen: dict[int, Any]) -> Iterator[str]:
    for function in (getattr(member, "__func__", member), getattr(member, "fget", None), getattr(member, "fset", None)):
        if isinstance(function, types.FunctionType):
            yield from _used(inspect.unwrap(function), seen)


def _function_parts(function: Any, seen: dict[int, Any]) -> Iterator[str]:
    if not is_user_code(getattr(function, "__module__", None)):
        yield f"function {getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        return
    source = _source(function)
    if source is not None:
        yield source
    else:
        yield from _bytecode(function.__code__)
    yield from _value_parts(function.__defaults__, seen)
    yield from _value_parts(function.__kwdefaults__, seen)
    yield from _used(function, seen)


def _used(function: types.FunctionType, seen: dict[int, Any]) -> Iterator[str]:
    """What a function takes from its module and from the functions around it."""
    names = _names(function.__code__)
    for name in names:
        if name in function.__globals__:
            yield name
            value = function.__globals__[name]
            if isinstance(value, types.ModuleType):
                yield from _module_parts(value, [other for other in names if other != name], seen)
            else:
                yield from _parts(value, seen)
        elif not hasattr(builtins, name):
            yield name
    yield from imported_sources(function.__code__, function.__globals__.get("__package__"), set())
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            content = cell.cell_contents
        except ValueError:  # a cell that is filled later: `super()` in a class that is still being made
            continue
        if name != "__class__":
            yield name
            yield from _parts(content, seen)


def _module_parts(module: types.ModuleType, names: list[str], seen: dict[int, Any]) -> Iterator[str]:
    """What a function can take from a module by the names that it mentions, as in `helpers.clean(text)`."""
    yield f"module {module.__name__}"
    if not is_user_code(module.__name__):
        return
    for name in names:
        if name not in vars(module):
            continue
        yield name
        value = vars(module)[name]
        if isinstance(value, types.ModuleType):
            yield from _module_parts(value, [other for other in names if other != name], seen)
        else:
            yield from _parts(value, seen)


def _names(code: types.CodeType) -> list[str]:
    """The global names in a piece of code and in the functions within it."""
    found = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += _names(constant)
    return list(dict.fromkeys(found))


def _bytecode(code: types.CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _bytecode(constant)
        elif isinstance(constant, frozenset):  # of `x in {...}`, in the order of this process
            yield from sorted(repr(item) for item in cast("frozenset[Any]", constant))
        elif isinstance(constant, (*_PLAIN, tuple)):
            yield repr(cast("Any", constant))


def _value_parts(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    if isinstance(value, _PLAIN):
        yield repr(value)
    elif isinstance(value, (list, tuple)):
        yield type(cast("Any", value)).__name__
        for item in cast("list[Any]", value):
            yield from _again(item, seen)
    elif isinstance(value, (set, frozenset)):
        yield from sorted(repr(item) for item in cast("set[Any]", value))
    elif isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            yield from _again(key, seen)
            yield from _again(item, seen)
    else:
        kind = cast("type[Any]", type(value))
        yield f"{kind.__module__}.{kind.__qualname__}"
        yield state_digest(value, lambda code: "\n".join(_parts(code, seen))) or ""


def _again(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    """As `_parts`, but equal plain values count each time they come."""
    return _value_parts(value, seen) if isinstance(value, _PLAIN) else _parts(value, seen)


def _source(code: Any) -> str | None:
    """The source without comments, docstrings and layout; None where there is none (a prompt, a pickle)."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError, SyntaxError):
        return None
    return plain_source(tree)
