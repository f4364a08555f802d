"""What an object holds, as a digest that is the same in every process: for arrays, patterns, objects of any class.

An object is pickled into the digest, not kept. What Python orders or numbers anew in each process (sets, memory
addresses, which of two equal strings is the other) is put in an order or left out; classes and functions within
it are told by the caller. What cannot be pickled, or is too large to be looked at, has no digest.
"""

from __future__ import annotations

import hashlib
import pickle
import random
import types
from collections.abc import Callable
from typing import Any, cast

_MOST = 64 * 1024**2
"""Bytes that are looked at; what is larger is a model or a dataset, which nobody edits in a script."""


def state_digest(value: Any, tell_code: Callable[[Any], str]) -> str | None:
    """A digest of what a value holds; None when it cannot be told.

    Args:
        value: anything.
        tell_code: what is said of a class or function within it.
    """
    sink = _Sink()
    pickler = _Pickler(sink, tell_code)
    try:
        pickler.dump(value)
    except Exception:  # noqa: BLE001  # `__reduce__` and `__getstate__` are the user's code: what they raise says only that there is no digest
        return None
    return sink.digest.hexdigest()


class _Sink:
    """A file that digests what is written, up to a bound."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._left = _MOST

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise ValueError("too large")
        self.digest.update(data)
        return size


class _Pickler(pickle.Pickler):
    """Writes no references, whose places depend on what equal objects happen to be one."""

    def __init__(self, sink: _Sink, tell_code: Callable[[Any], str]) -> None:
        super().__init__(sink, protocol=4)
        self.fast = True
        self._tell_code = tell_code

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, (set, frozenset)):
            items = cast("set[Any]", obj)
            return "set", *sorted(self._of_item(item) for item in items)
        if isinstance(obj, (type, types.FunctionType)):
            return "code", self._tell_code(obj)
        if isinstance(obj, random.Random) or type(obj).__module__.startswith("numpy.random"):
            return "random", type(obj).__qualname__  # its state is another in each process
        return None

    def _of_item(self, item: Any) -> str:
        return repr(item) if isinstance(item, (str, int, float, bytes)) else str(state_digest(item, self._tell_code))
