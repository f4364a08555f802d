"""Files that a step keeps beside the dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distilmq.errors import DistilmqUserError


def write_artifact(
    directory: Path, name: str, write_function: Callable[[Path], None], metadata: dict[str, Any] | None
) -> None:
    """Makes `<directory>/<name>/`, lets the function write into it and writes `metadata.json`."""
    if Path(name).name != name or name in ("", ".", ".."):
        raise DistilmqUserError(f"'{name}' cannot be the name of an artifact: it has to be the name of a folder.")
    folder = directory / name
    folder.mkdir(parents=True, exist_ok=True)
    write_function(folder)
    (folder / "metadata.json").write_text(json.dumps(metadata or {}, indent=2, default=str), encoding="utf-8")
