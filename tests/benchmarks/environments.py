"""The environments of those that distilmq is compared with: made for a session, or given."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

PEERS: Mapping[str, Sequence[str]] = {
    # It uses requests without asking for it.
    "distilabel": ("distilabel[openai,instructor]==1.5.3", "requests"),
    "Curator": ("bespokelabs-curator==0.1.31",),
    "DataDesigner": ("data-designer==0.9.7",),
}
"""What is installed for each."""


@contextmanager
def environments(given: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The interpreter of each peer: those that are given, and new ones for the others; without those that fail.

    Args:
        given: interpreters of environments that are there already, by name.
    """
    with ExitStack() as stack:
        pythons = dict(given)
        for name, packages in PEERS.items():
            if name not in pythons:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="distilmq-peer-"))
                if (python := _install(folder, packages)) is not None:
                    pythons[name] = python
        yield pythons


def _install(folder: str, packages: Sequence[str]) -> str | None:
    """The interpreter of an environment with these packages; None where they cannot be installed."""
    python = f"{folder}/bin/python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=False)
    return None if done.returncode else python
