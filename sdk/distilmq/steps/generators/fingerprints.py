"""Names for the data that rows come from, which change when the data does."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from distilmq.protocol.packing import pack
from distilmq.typing import Row
from distilmq.utils.untyped import untyped

_ROWS_AT_ONCE = 1000
_LARGE = 2 * 1024**3
"""Datasets on disk beyond this many bytes go by the state of their files: reading them takes minutes."""
_STATE = (
    *("size", "mtime", "modified", "last_modified", "lastmodified", "updated"),
    *("etag", "md5", "md5hash", "content_md5", "digest", "checksum", "blob_id"),
)
"""What file systems tell of a file that changes with its content, by the names that each of them has for it."""

_log = logging.getLogger("distilmq.steps.generators")


def of_rows(rows: Iterable[Row]) -> str:
    """A hash of the content of rows."""
    digest = hashlib.blake2b(digest_size=16)
    remaining = iter(rows)
    while chunk := list(itertools.islice(remaining, _ROWS_AT_ONCE)):
        digest.update(_packed(chunk))
    return f"rows {digest.hexdigest()}"


def of_files(paths: Iterable[Path | str]) -> str:
    """A hash of the paths, sizes and modification times of files, those within folders included."""
    states: list[str] = []
    for path in sorted(Path(path) for path in paths):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                state = file.stat()
                states.append(f"{file.resolve()}\0{state.st_size}\0{state.st_mtime_ns}")
    content = "\n".join(states).encode("utf-8", "surrogateescape")
    return f"files {hashlib.blake2b(content, digest_size=16).hexdigest()}"


def of_remote_files(urls: Iterable[str], storage_options: Mapping[str, Any] | None = None) -> str:
    """A hash of what other file systems tell of the state of files, those within folders and patterns included.

    Empty, with a warning, when one cannot be asked or tells nothing but the name.
    """
    states: list[str] = []
    for url in urls:
        try:
            found = [*_remote_states(url, storage_options or {})]
        except Exception as error:  # noqa: BLE001  # whatever keeps a file system from answering
            _log.warning("The state of '%s' is not known, changes of it go unnoticed: %s", url, error)
            return ""
        if not found:
            _log.warning("The state of '%s' is not known: changes of it go unnoticed", url)
            return ""
        states += found
    return f"remote files {hashlib.blake2b(chr(10).join(states).encode(), digest_size=16).hexdigest()}"


def _remote_states(url: str, storage_options: Mapping[str, Any]) -> Iterator[str]:
    core = untyped("fsspec.core")
    system, path = core.url_to_fs(url, **storage_options)
    if any(sign in path for sign in "*?["):
        found = system.glob(path, detail=True)
    else:
        info = system.info(path)
        found = system.find(path, detail=True) if info.get("type") == "directory" else {path: info}
    for name, told in sorted(found.items()):
        state = {key: str(value) for key, value in told.items() if key.lower().replace("-", "_") in _STATE}
        if state:
            yield f"{name} {sorted(state.items())}"


def of_dataset(dataset: Any) -> str:
    """A hash of the content of a `datasets.Dataset`; of a very large one on disk, of the state of its files."""
    files = [str(entry["filename"]) for entry in dataset.cache_files]
    if files and dataset._indices is None and dataset.data.nbytes > _LARGE:
        return of_files(files)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(str(dataset.features).encode())
    arrow = untyped("pyarrow")
    for table in dataset.with_format("arrow").iter(batch_size=_ROWS_AT_ONCE):
        # Copied row by row: a slice is serialized with some bytes of what stands behind it.
        copied = table.take(arrow.array(range(len(table)), arrow.int64())).combine_chunks()
        for batch in copied.to_batches():
            digest.update(batch.serialize())
    return f"dataset {digest.hexdigest()}"


def _packed(value: Any) -> bytes:
    try:
        return pack(value)
    except (TypeError, ValueError, OverflowError):
        return pack(_plain(value))


def _plain(value: Any) -> Any:
    """A value that msgpack has no word for, in words that it has."""
    if isinstance(value, str):
        return ["str", value.encode("utf-8", "surrogatepass")]  # which takes half a character as well
    if value is None or isinstance(value, (bool, float, bytes)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else ["int", str(value)]
    if isinstance(value, dict):
        return {_packed(key): _plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("list[Any]", value)]
    kind = cast("type[Any]", type(value))
    return [f"{kind.__module__}.{kind.__qualname__}", _content(value)]


def _content(value: Any) -> Any:
    if hasattr(value, "tobytes"):  # arrays and images
        shape = getattr(value, "shape", None) or getattr(value, "size", None)
        return [repr(shape), str(getattr(value, "dtype", getattr(value, "mode", ""))), value.tobytes()]
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump())
    return repr(value)
