"""Rows by way of a file system that both ends can reach, for runs with `use_fs_to_pass_data`.

Any file system that fsspec knows (https://filesystem-spec.readthedocs.io), by its URL. What is sent then is where the
bytes lie, how many they are and their checksum. Each file is written by one end, and removed by the other once it is
read; the coordinator makes the run's folder, and removes it with all that is left in it.
"""

from __future__ import annotations

import contextlib
import zlib

from distilmq.errors import DistilmqUserError
from distilmq.protocol.messages import SharedFile
from distilmq.protocol.plan import Storage
from distilmq.utils.untyped import untyped

_MARK = "distilmq-run"
"""A file by which a worker sees that it looks at the same place."""


class SharedFilesError(Exception):
    """A file cannot be written, or is not there, or holds other bytes than were written."""


class SharedFiles:
    """The files of one run.

    Args:
        storage: where they lie.
        run: its id: the name of its folder there.

    Raises:
        DistilmqUserError: there is no such kind of file system, or what it needs is not installed.
    """

    def __init__(self, storage: Storage, run: str) -> None:
        self._url = storage.path
        try:
            # Without a listing kept in memory: others write there.
            options = {"use_listings_cache": False, **storage.options}
            self._files, root = untyped("fsspec.core").url_to_fs(storage.path, **options)
        except Exception as error:
            raise DistilmqUserError(f"{self._where()} cannot be used: {error}") from error
        self._root = f"{str(root).rstrip('/')}/{run}"

    def begin(self) -> None:
        """Makes the run's folder, empty.

        Raises:
            DistilmqUserError: it cannot be made.
        """
        try:
            self.end()
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(f"{self._root}/{_MARK}", b"1")
        except Exception as error:
            raise DistilmqUserError(
                f"{self._where()} cannot be written to ({_said(error)}): make it so, or name another place"
            ) from error

    def check(self) -> None:
        """Looks whether the run's folder can be seen from here.

        Raises:
            DistilmqUserError: it cannot.
        """
        try:
            self._files.cat_file(f"{self._root}/{_MARK}")
        except Exception as error:
            raise DistilmqUserError(
                f"{self._where()} cannot be read on this worker ({_said(error)}): give it access (mount the folder, or"
                " install and configure what the protocol needs), or run without `use_fs_to_pass_data`"
            ) from error

    def write(self, name: str, data: bytes) -> SharedFile:
        """Writes a file, in the place of one of that name.

        Raises:
            SharedFilesError: it cannot be written.
        """
        try:
            self._files.pipe_file(f"{self._root}/{name}", data)
        except Exception as error:
            raise SharedFilesError(f"{name} cannot be written to {self._url}: {_said(error)}") from error
        return SharedFile(name=name, size=len(data), crc=zlib.crc32(data))

    def take(self, file: SharedFile) -> bytes:
        """The bytes of a file, which is removed.

        Raises:
            SharedFilesError: it is not there, or is not what was written.
        """
        if "/" in file.name or file.name.startswith("."):
            raise SharedFilesError(f"{file.name!r:.200} is no name of a file")
        path = f"{self._root}/{file.name}"
        try:
            data: bytes = self._files.cat_file(path)
        except Exception as error:
            raise SharedFilesError(f"{file.name} cannot be read from {self._url}: {_said(error)}") from error
        if len(data) != file.size or zlib.crc32(data) != file.crc:
            raise SharedFilesError(f"{file.name} at {self._url} is not what was written")
        # What cannot be removed now goes with the folder.
        with contextlib.suppress(Exception):
            self._files.rm_file(path)
        return data

    def end(self) -> None:
        """Removes the run's folder, if it is there; raises whatever the file system raises."""
        if self._files.exists(self._root):
            self._files.rm(self._root, recursive=True)

    def _where(self) -> str:
        return f"the place for passing data, {self._url!r} (`storage_parameters`),"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
