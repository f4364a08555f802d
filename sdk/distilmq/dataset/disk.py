"""A folder of a saved Distiset, on this machine or behind an `fsspec` URL."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distilmq.dataset.libraries import fsspec

_DATASET_FILES = ("dataset_dict.json", "state.json")


class Folder:
    """A folder that need not exist yet."""

    def __init__(self, url: str, storage_options: dict[str, Any] | None = None) -> None:
        self._url = url.rstrip("/") or "/"
        self._options = storage_options
        self._fs: Any
        self._root: str
        self._fs, self._root = fsspec.core.url_to_fs(self._url, **(storage_options or {}))

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self._root.rstrip("/").rsplit("/", 1)[-1]

    @property
    def is_local(self) -> bool:
        """Whether ordinary file functions reach it."""
        protocol = self._fs.protocol
        return "file" in ([protocol] if isinstance(protocol, str) else protocol)

    def path(self, name: str) -> str:
        """The path of something in it, as `datasets` takes it."""
        return f"{self._url}/{name}"

    def below(self, name: str) -> Folder:
        """A folder in it."""
        return Folder(self.path(name), self._options)

    def put(self, content: bytes, name: str) -> None:
        """Writes a file, unless there is one."""
        target = f"{self._root}/{name}"
        if not self._fs.exists(target):
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(target, content)

    def put_folder(self, source: Path, name: str) -> None:
        """Copies a folder into it, file by file."""
        for path in sorted(source.rglob("*")):
            if path.is_file():
                target = f"{self._root}/{name}/{path.relative_to(source).as_posix()}"
                self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                self._fs.put_file(str(path), target)

    def datasets(self) -> list[str]:
        """The names of the datasets in it."""
        if not self._fs.isdir(self._root):
            return []
        names = sorted(entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in self._fs.ls(self._root, detail=True))
        return [name for name in names if self._is_dataset(name)]

    def fetched(self, names: Sequence[str], download_dir: str | Path | None) -> Path:
        """A local folder that holds these folders: itself, or a copy of a remote one."""
        if self.is_local:
            return Path(self._root)
        target = Path(download_dir) if download_dir is not None else Path(tempfile.mkdtemp(prefix="distiset-"))
        for name in names:
            source = f"{self._root}/{name}"
            if self._fs.isdir(source):
                self._fs.get(source, str(target / name), recursive=True)
        return target

    def _is_dataset(self, name: str) -> bool:
        return any(self._fs.exists(f"{self._root}/{name}/{file}") for file in _DATASET_FILES)
