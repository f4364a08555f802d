"""Secrets that the broker keeps for all runs: environment variable to value, in a file of mode 0600.

What clients send with a run is kept in memory only, so that a coordinator which is started again has it.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from distilmq.errors import DistilmqUserError
from distilmq.transport.connection_file import write_private


class SecretStore:
    """The file, read again for each run: what is changed counts from then on.

    Args:
        path: of the file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sent: dict[str, dict[str, dict[str, str]]] = {}

    def values(self, variables: Iterable[str]) -> dict[str, str]:
        """Those of some variables that are kept.

        Raises:
            DistilmqUserError: the file cannot be read, or others can read it.
        """
        kept = self.all()
        return {name: kept[name] for name in variables if name in kept}

    def all(self) -> dict[str, str]:
        """All that are kept; raises as `values`."""
        try:
            mode, data = self._path.stat().st_mode, self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise DistilmqUserError(f"{self._path} cannot be read: {error.strerror}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise DistilmqUserError(f"{self._path} can be read by others: chmod 600 {self._path}")
        return self._parsed(data)

    def keep(self, name: str, value: str | None) -> None:
        """Keeps a value, or (None) keeps it no longer; raises as `values`."""
        kept = {other: known for other, known in self.all().items() if other != name}
        if value is not None:
            kept[name] = value
        write_private(self._path, json.dumps(kept, indent=1) + "\n")

    def sent(self, run: str, values: Mapping[str, Mapping[str, str]]) -> None:
        """A client sent secrets with a run: step to dotted field to value."""
        known = self._sent.setdefault(run, {})
        known.update({step: dict(fields) for step, fields in values.items()})

    def sent_with(self, run: str) -> dict[str, dict[str, str]]:
        """What clients sent with a run since the broker was started."""
        return self._sent.get(run, {})

    def forget(self, run: str) -> None:
        """A run is removed."""
        self._sent.pop(run, None)

    def _parsed(self, data: bytes) -> dict[str, str]:
        try:
            found: Any = json.loads(data)
        except ValueError:
            # Not `from error`: its text may show what is in the file.
            raise DistilmqUserError(f"{self._path} is no JSON") from None
        if not isinstance(found, dict):
            raise DistilmqUserError(f"{self._path} is no JSON object of names and values")
        return {str(name): str(value) for name, value in cast("dict[Any, Any]", found).items()}
