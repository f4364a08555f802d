"""Rows by way of a file system that both ends can reach, for runs with `use_fs_to_pass_data`.

Any file system that fsspec knows (https://filesystem-spec.readthedocs.io), by its URL. What is sent then is where the
bytes lie, how many they are and their checksum. Each file is written by one end, and removed by the other once it is
read; the coordinator makes the run's folder, and removes it with all that is left in it.
"""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

from distilmq.errors import DistilmqUserError
from distilmq.protocol.messages import SharedFile
from distilmq.protocol.plan import Storage
from distilmq.utils.secret_options import hidden
from distilmq.utils.untyped import untyped

_MARK = "distilmq-run"
"""A file by which a worker sees that it looks at the same place."""
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "r2"})
"""File systems without folders, whose `makedirs` would make the bucket of a name that was mistyped."""
_TRIED_AGAIN = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between the tries of what a run cannot begin without, while a server is away."""
_TIMES_CLEARED = 3
_FINAL = (FileNotFoundError, NotADirectoryError, PermissionError, NotImplementedError, TypeError, ValueError)
"""What is no better for waiting."""
_T = TypeVar("_T")


class SharedFilesError(Exception):
    """A file cannot be written, or is not there, or holds other bytes than were written."""


class SharedFiles:
    """The files of one run. They may be used by several threads at once.

    Args:
        storage: where they lie.
        run: its id: the name of its folder there.

    Raises:
        DistilmqUserError: there is no such kind of file system, or what it needs is not installed.
    """

    def __init__(self, storage: Storage, run: str) -> None:
        self._url = storage.path
        # Without a listing kept in memory: others write there.
        self._options = {"use_listings_cache": False, **storage.options}
        self._local = threading.local()
        try:
            files, root = self._opened()
        except Exception as error:
            raise DistilmqUserError(f"{self._where()} cannot be used: {self._said(error)}") from error
        # Those that are not made for it may have one connection only, and fsspec keeps one of them for each thread.
        self._shared = files if getattr(files, "async_impl", False) else None
        self._has_folders = storage.path.partition("://")[0] not in _BUCKETS
        self._root = f"{str(root).rstrip('/')}/{run}"

    def begin(self) -> None:
        """Makes the run's folder, empty.

        Raises:
            DistilmqUserError: it cannot be made.
        """
        try:
            _persistently(self._begin)
        except Exception as error:
            raise DistilmqUserError(
                f"{self._where()} cannot be written to ({self._said(error)}): make it so, or name another place"
            ) from error

    def check(self) -> None:
        """Looks whether the run's folder can be seen from here.

        Raises:
            DistilmqUserError: it cannot.
        """
        try:
            _persistently(lambda: self._content(f"{self._root}/{_MARK}", 1))
        except Exception as error:
            raise DistilmqUserError(
                f"{self._where()} cannot be read on this worker ({self._said(error)}): give it access (mount the"
                " folder, or install and configure what the protocol needs), or run without `use_fs_to_pass_data`"
            ) from error

    def write(self, name: str, data: bytes) -> SharedFile:
        """Writes a file, in the place of one of that name.

        Raises:
            SharedFilesError: it cannot be written.
        """
        try:
            self._files.pipe_file(f"{self._root}/{name}", data)
        except Exception as error:
            raise SharedFilesError(f"{name} cannot be written to {self._shown}: {self._said(error)}") from error
        return SharedFile(name=name, size=len(data), crc=zlib.crc32(data))

    def read(self, file: SharedFile) -> bytes:
        """The bytes of a file.

        Raises:
            SharedFilesError: it is not there, or is not what was written.
        """
        path = self._path(file)
        try:
            data = self._content(path, file.size)
        except Exception as error:
            raise SharedFilesError(f"{file.name} cannot be read from {self._shown}: {self._said(error)}") from error
        if len(data) != file.size or zlib.crc32(data) != file.crc:
            raise SharedFilesError(f"{file.name} at {self._shown} is not what was written")
        return data

    def remove(self, file: SharedFile) -> None:
        """Removes a file that was read.

        Raises:
            SharedFilesError: it cannot be removed now: it goes with the folder.
        """
        try:
            self._files.rm_file(self._path(file))
        except Exception as error:
            raise SharedFilesError(f"{file.name} cannot be removed from {self._shown}: {self._said(error)}") from error

    def end(self) -> None:
        """Removes the run's folder, if it is there.

        Raises:
            SharedFilesError: it cannot be removed.
        """
        try:
            self._clear()
        except Exception as error:
            raise SharedFilesError(f"{self._root} cannot be removed: {self._said(error)}") from error

    def _begin(self) -> None:
        self._clear()
        if self._has_folders:
            self._files.makedirs(self._root, exist_ok=True)
        self._files.pipe_file(f"{self._root}/{_MARK}", b"1")

    def _clear(self) -> None:
        for _ in range(_TIMES_CLEARED):
            # A worker that is still at it may remove or write a file of it meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if not self._files.exists(self._root):
                    return
                self._files.rm(self._root, recursive=True)

    @property
    def _files(self) -> Any:
        """The file system, for the thread that asks."""
        if self._shared is not None:
            return self._shared
        if not hasattr(self._local, "files"):
            self._local.files, _ = self._opened()
        return self._local.files

    def _opened(self) -> tuple[Any, str]:
        return untyped("fsspec.core").url_to_fs(self._url, **self._options)

    def _content(self, path: str, size: int) -> bytes:
        if self._shared is None or not size:
            return self._files.cat_file(path)
        # With the range, an object store is not asked for the size first.
        return self._files.cat_file(path, start=0, end=size)

    def _path(self, file: SharedFile) -> str:
        if "/" in file.name or file.name.startswith("."):
            raise SharedFilesError(f"{file.name!r:.200} is no name of a file")
        return f"{self._root}/{file.name}"

    @property
    def _shown(self) -> str:
        return hidden(self._url, self._options)

    def _where(self) -> str:
        return f"the place for passing data, {self._shown!r} (`storage_parameters`),"

    def _said(self, error: Exception) -> str:
        """An error without the secrets that the options may hold."""
        return hidden(f"{type(error).__name__}: {error}", self._options)[:500]


def _persistently(call: Callable[[], _T]) -> _T:
    """What a call gives that is made again while it may be that a server is away for a moment."""
    for wait in _TRIED_AGAIN:
        try:
            return call()
        except _FINAL:
            raise
        except Exception as error:  # whatever a file system raises; the last try lets it through
            if type(error).__name__ == "error_perm":
                # What an FTP server refuses.
                raise
            time.sleep(wait)
    return call()
