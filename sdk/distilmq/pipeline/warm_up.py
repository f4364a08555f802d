"""Imports what the end of a run needs while the run is at work, and stops doing so when it is stopped.

`datasets` takes seconds to import. A thread that is still importing when the script ends by `KeyboardInterrupt` runs
class bodies through `exec`, and that makes Python (3.11: `run_eval_code_obj`) forget that it ends by the interrupt:
the script would end with 1 instead of 130. So the import goes in small pieces, and whoever leaves waits for one piece;
who cannot wait, at a second Ctrl+C, has Python reminded at its end.
"""

from __future__ import annotations

import atexit
import importlib
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

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
    """Imports modules in a thread of its own, from `start` on; after `stop` it ends at the next module.

    A module that cannot be imported is left to those who need it: they get the error where it can be read.
    """

    def __init__(self, modules: Sequence[str] = DATASETS) -> None:
        self._modules = modules
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="warm-up", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Begins with no further module."""
        self._stopped.set()

    def ended(self, seconds: float) -> bool:
        """Waits for at most so long for the module at hand; says whether there is none left."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def leave_behind(self) -> None:
        """Has the process end by the interrupt that ends it, although an import goes on."""
        atexit.register(_interrupt_again)

    def _work(self) -> None:
        for module in self._modules:
            if self._stopped.is_set():
                return
            try:
                importlib.import_module(module)
            except ImportError:
                continue


def _interrupt_again() -> None:
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        with suppress(KeyboardInterrupt):
            # From source: Python notes the interrupt where it has run a piece of source, and nowhere else.
            exec("raise KeyboardInterrupt")
