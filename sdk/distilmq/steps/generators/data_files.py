"""Which files are meant by a path, a folder, a pattern or a list of them, and what they are."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from distilmq.errors import DistilmqUserError
from distilmq.utils.untyped import untyped

FILETYPES: Mapping[str, str] = {
    ".arrow": "arrow",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".tsv": "csv",
    ".txt": "text",
}
"""Suffix to what `datasets` calls such files."""

_COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip"})
_PATTERN = frozenset("*?[")


def files_of(
    data_files: Any, filetype: str | None, split: str, storage_options: Mapping[str, Any] | None = None
) -> dict[str, list[str]]:
    """The files meant, by split; folders are opened, patterns are left to `datasets`.

    Raises:
        DistilmqUserError: a file does not exist, or a folder holds no file of a known type, or of several types.
    """
    by_split: dict[str, Any] = dict(data_files) if isinstance(data_files, Mapping) else {split: data_files}  # pyright: ignore[reportUnknownArgumentType]  # checked by the field
    found: dict[str, list[str]] = {}
    for name, given in by_split.items():
        paths = [given] if isinstance(given, (str, Path)) else list(given)
        found[name] = [file for path in paths for file in _opened(str(path), filetype, storage_options or {})]
    return found


def filetype_of(files: Mapping[str, Iterable[str]]) -> str:
    """What `datasets` calls the files.

    Raises:
        DistilmqUserError: their suffix does not tell, or they are of several types.
    """
    paths = [path for given in files.values() for path in given]
    types = {_filetype(path) for path in paths}
    if len(types) == 1 and None not in types:
        return str(types.pop())
    shown = sorted({_suffix(path) or path for path in paths})
    raise DistilmqUserError(
        f"What kind of files these are is not clear from {shown}: please give `filetype`, one of"
        f" {sorted(set(FILETYPES.values()))}."
    )


def known_filetype(filetype: str) -> str:
    """What `datasets` calls files of a type that someone named by it, or by a suffix (`jsonl`).

    Raises:
        DistilmqUserError: it reads no such files. (Left alone, it would look for a dataset of that name on the Hub.)
    """
    name = FILETYPES.get("." + filetype.lower().lstrip("."), filetype)
    readers = getattr(untyped("datasets.packaged_modules"), "_PACKAGED_DATASETS_MODULES", {name: None})
    if name in readers:
        return name
    raise DistilmqUserError(
        f"Files of the `filetype` '{filetype}' cannot be read: give one of {sorted(set(FILETYPES.values()))}, or"
        " another that `datasets` reads."
    )


def reading_options(files: Mapping[str, Iterable[str]], filetype: str | None) -> dict[str, str]:
    """What `datasets` needs to be told to read the files: that TSV files are separated by tabs."""
    paths = [path for given in files.values() for path in given]
    tabs = filetype == "tsv" or (filetype in (None, "csv") and all(_suffix(path) == ".tsv" for path in paths))
    return {"sep": "\t"} if paths and tabs else {}


def patterns_of(files: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The files as `datasets` takes them, which reads each name as a pattern: `[1].csv` would mean `1.csv`."""
    return {
        split: [glob.escape(path) if "://" not in path and Path(path).exists() else path for path in given]
        for split, given in files.items()
    }


def local_files(files: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Those of the files that lie on this machine, patterns resolved."""
    for path in (path for given in files.values() for path in given):
        if "://" in path:
            continue
        if _PATTERN & set(path) and not Path(path).exists():
            yield from (str(found) for found in _globbed(path))
        else:
            yield path


def remote_files(files: Mapping[str, Iterable[str]]) -> list[str]:
    """Those of the files that lie on other file systems, patterns as they are."""
    return [path for given in files.values() for path in given if "://" in path]


def _opened(path: str, filetype: str | None, storage_options: Mapping[str, Any]) -> list[str]:
    """The file itself, or the files of a folder."""
    if "://" in path:
        return _opened_remote(path, filetype, storage_options)
    if Path(path).is_dir():
        files = (str(file) for file in sorted(Path(path).rglob("*")) if file.is_file())
        return _of_one_type(path, [file for file in files if not _hidden(file, path)], filetype)
    if not Path(path).exists() and not (_PATTERN & set(path)):
        raise DistilmqUserError(f"'{path}' does not exist.")
    return [path]


def _opened_remote(path: str, filetype: str | None, storage_options: Mapping[str, Any]) -> list[str]:
    if path.startswith(("http://", "https://")) or _PATTERN & set(path):
        return [path]
    from upath import UPath

    folder = UPath(path, **storage_options)
    if not folder.is_dir():
        return [path]
    files = sorted(str(file) for file in folder.rglob("*") if file.is_file())
    return _of_one_type(path, [file for file in files if not _hidden(file, path)], filetype)


def _of_one_type(folder: str, files: list[str], filetype: str | None) -> list[str]:
    """The files of a folder that are of the type, or of the one type that there is."""
    known = [file for file in files if _filetype(file) is not None]
    if filetype is not None:
        chosen = [file for file in known if _filetype(file) == filetype] or files
    else:
        types = sorted({str(_filetype(file)) for file in known})
        if len(types) > 1:
            raise DistilmqUserError(
                f"The folder '{folder}' holds files of several types, {types}: please give `filetype`."
            )
        chosen = known
    if not chosen:
        raise DistilmqUserError(f"The folder '{folder}' holds no file of the types {sorted(set(FILETYPES.values()))}.")
    return chosen


def _filetype(path: str) -> str | None:
    return FILETYPES.get(_suffix(path))


def _suffix(path: str) -> str:
    """The suffix that tells the type: of `data.csv.gz`, `.csv`."""
    suffixes = [suffix.lower() for suffix in Path(path.partition("?")[0]).suffixes]
    while suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _hidden(file: str, folder: str) -> bool:
    inner = file.removeprefix(folder).strip("/")
    return any(part.startswith((".", "_")) for part in inner.split("/"))


def _globbed(pattern: str) -> Iterator[Path]:
    path = Path(pattern)
    depth = next(index for index, part in enumerate(path.parts) if _PATTERN & set(part))
    yield from sorted(Path(*path.parts[:depth]).glob(str(Path(*path.parts[depth:]))))
