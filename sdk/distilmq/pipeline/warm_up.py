"""Imports what the end of a run needs while its workers start, and stops doing so when the run is stopped.

`datasets` takes seconds to import. A thread that is still importing when the script ends by `KeyboardInterrupt` runs
class bodies through `exec`, and that makes Python (3.11: `run_eval_code_obj`) forget that it ends by the interrupt:
the script would end with 1 instead of 130. So the import goes in small pieces, and whoever leaves waits for one piece.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from types import TracebackType

DATASETS = (
    "numpy",
    "pandas",
    "pyarrow.dataset",
    "fsspec",
    "aiohttp",
    "dill",
    "huggingface_hub.hf_api",
    "datasets",
)
"""`datasets` and what it takes along; each takes at most the time of `pandas`, less than a second."""


class WarmUp:
    """Imports modules in a thread of its own, from `__enter__` on; `__exit__` ends it at the next module.

    A module that cannot be imported is left to those who need it: they get the error where it can be read.
    """

    def __init__(self, modules: Sequence[str] = DATASETS) -> None:
        self._modules = modules
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="warm-up", daemon=True)

    def __enter__(self) -> WarmUp:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        for module in self._modules:
            if self._stopped.is_set():
                return
            try:
                importlib.import_module(module)
            except ImportError:
                continue
