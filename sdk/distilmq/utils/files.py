"""Reading and writing plain data as JSON and YAML, from files and URLs."""

from __future__ import annotations

import itertools
import json
import os
import re
import urllib.parse
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal, cast

from distilmq.errors import DistilmqUserError

Format = Literal["json", "yaml"]

_SUFFIXES: dict[str, Format] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
_FETCH_TIMEOUT = 30.0
_MANY = 100
"""Lists of more rows than this are written one row a line, as JSON, which YAML contains: a hundred times faster."""
_NO_YAML_FLOAT = re.compile(r"[\[:,] ?-?\d+e")
"""`1e+16`, which YAML reads as text: it wants a point."""
_LONGEST_KEY = 1000
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_SCALARS = frozenset({bool, float, int, str, type(None)})


def suggested_path(path: str | Path | None, format: Format) -> Path:
    """Where to save: the path itself when it has a known suffix, else a file of our name in that folder.

    Raises:
        DistilmqUserError: there is no such format.
    """
    if format not in _SUFFIXES.values():
        raise DistilmqUserError(f'A pipeline is saved with `format="json"` or `format="yaml"`, not {format!r}.')
    target = Path.cwd() if path is None else Path(path)
    if target.suffix in _SUFFIXES:
        return target
    return target / f"distilmq-file.{format}"


def save(data: Any, path: Path, format: Format = "json") -> None:
    """Writes data; the suffix of the path wins over `format`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if _SUFFIXES.get(path.suffix, format) == "json":
        write_json(path, data)
    else:
        write_yaml(path, data)


def write_json(path: Path, data: Any) -> None:
    """Writes data as JSON."""
    _write(path, data, _to_json)


def write_yaml(path: Path, data: Any) -> None:
    """Writes data as YAML, keys in their order."""
    _write(path, data, to_yaml)


def read_json(path: str | Path) -> Any:
    """Reads a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_yaml(path: str | Path) -> Any:
    """Reads a YAML file."""
    return from_yaml(Path(path).read_text(encoding="utf-8"))


def read(path: str | Path, format: Format | None = None) -> dict[str, Any]:
    """The dict in a JSON or YAML file; without `format` the suffix says which.

    Raises:
        DistilmqUserError: the file does not exist, has another suffix or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise DistilmqUserError(f"File '{path}' does not exist.")
    format = format or _format_of(path.name)
    return _parsed(path.read_bytes(), format, str(path))


def fetch(url: str) -> dict[str, Any]:
    """The dict in a JSON or YAML document under an http(s) URL.

    The Hugging Face token goes along only to the Hub's own host.
    """
    from urllib.request import Request, urlopen  # 12 ms that only this function needs

    parsed = urllib.parse.urlsplit(url)
    if parsed.scheme not in ("http", "https"):
        raise DistilmqUserError(f"'{url}' is not an http(s) URL")
    format = _format_of(parsed.path)
    request = Request(url, headers=_headers(parsed.netloc))
    try:
        with urlopen(request, timeout=_FETCH_TIMEOUT) as answer:
            content = cast("IO[bytes]", answer).read()
    except OSError as error:
        raise DistilmqUserError(f"'{url}' cannot be read: {error}") from error
    return _parsed(content, format, url)


def to_yaml(data: Any) -> str:
    """Data as YAML, keys in their order, long lists of rows one row a line."""
    lists: dict[str, str] = {}
    yaml, dumper, _ = _yaml()
    text: str = yaml.dump(_taken_out(data, lists), Dumper=dumper, sort_keys=False, allow_unicode=True)
    for mark, rows in lists.items():
        text = text.replace(mark, rows, 1)
    return text


def from_yaml(text: str) -> Any:
    """The data in YAML; never more than plain values."""
    yaml, _, loader = _yaml()
    return yaml.load(text, Loader=loader)


@cache
def _yaml() -> tuple[Any, type[Any], type[Any]]:
    """The library, and its safe dumper and loader, those in C where they are built in."""
    import yaml  # 15 ms that only files in YAML need

    return yaml, getattr(yaml, "CSafeDumper", yaml.SafeDumper), getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def holds_plain_rows(items: list[Any]) -> bool:
    """Whether a list holds dicts of what JSON has words for: found fast, for lists of many."""
    if not all(type(item) is dict for item in items):
        return False
    rows = cast("list[dict[Any, Any]]", items)
    if not set(map(type, itertools.chain.from_iterable(rows))) <= {str}:
        return False
    values = [value for row in rows for value in row.values()]
    try:
        _encode([value for value in values if type(value) not in _SCALARS]).encode("utf-8")
        for text in itertools.chain(itertools.chain.from_iterable(rows), values):
            if type(text) is str and not text.isascii():
                text.encode("utf-8")  # raises at half a character, which a file cannot hold
    except (TypeError, ValueError):
        return False
    return True


def _to_json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, default=_odd)


def _write(path: Path, data: Any, to_text: Callable[[Any], str]) -> None:
    """Writes all of the data, or leaves the file as it was."""
    try:
        content = to_text(data).encode("utf-8")
    except UnicodeEncodeError as error:
        before = error.object[max(0, error.start - 20) : error.start]
        raise DistilmqUserError(
            f"'{path}' cannot be written: a text in it has half a character (a lone surrogate), behind {before!r}."
        ) from error
    path.write_bytes(content)


def _taken_out(data: Any, lists: dict[str, str]) -> Any:
    """Data with its long lists of rows replaced by marks; `lists` gets what stands for each mark."""
    if isinstance(data, dict):
        return {_plain(key): _taken_out(value, lists) for key, value in cast("dict[Any, Any]", data).items()}
    if isinstance(data, list):
        items = cast("list[Any]", data)
        rows = _as_json_lines(items) if len(items) > _MANY else None
        if rows is None:
            return [_taken_out(item, lists) for item in items]
        mark = f"DISTILMQ-ROWS-{len(lists)}-{os.urandom(8).hex()}"
        lists[mark] = rows
        return mark
    return _plain(data)


def _plain(value: Any) -> Any:
    """A text or number as what it is, where it is of a class of its own (an enum's member, a text of numpy's)."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else value


def _as_json_lines(rows: list[Any]) -> str | None:
    """Rows as a YAML list in JSON; None when JSON cannot say them or they are no rows."""
    if not all(isinstance(row, dict) for row in rows):
        return None
    try:
        lines = [_encode(row) for row in rows]
    except (TypeError, ValueError):
        return None
    text = ",\n  ".join(lines)
    odd = (not text.isascii() or "\x7f" in text) and _NOT_IN_YAML.search(text) is not None
    long = _LONGEST_KEY // 6 if odd else _LONGEST_KEY  # an escaped character takes six
    if _NO_YAML_FLOAT.search(text) or any(
        len(line) > long and not _short_keys(row, long) for line, row in zip(lines, rows, strict=True)
    ):
        return None
    if odd:
        text = _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return "[\n  " + text + "\n  ]"


def _short_keys(value: Any, long: int) -> bool:
    """Whether YAML takes the keys of a value on one line, at every depth."""
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return all(len(_encode(str(key))) < long and _short_keys(item, long) for key, item in items)
    if isinstance(value, list):
        return all(_short_keys(item, long) for item in cast("list[Any]", value))
    return True


def _format_of(name: str) -> Format:
    suffix = Path(name).suffix
    if suffix not in _SUFFIXES:
        raise DistilmqUserError(f"'{name}' must end with one of {sorted(_SUFFIXES)}")
    return _SUFFIXES[suffix]


def _headers(host: str) -> dict[str, str]:
    hub = urllib.parse.urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).netloc
    token = os.environ.get("HF_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token and host == hub else {}


def _parsed(content: bytes, format: Format, source: str) -> dict[str, Any]:
    try:
        text = content.decode("utf-8")
        data = json.loads(text) if format == "json" else from_yaml(text)
    except (ValueError, _yaml()[0].YAMLError) as error:
        raise DistilmqUserError(f"'{source}' cannot be read as {format.upper()}: {error}") from error
    return _checked(data, source)


def _checked(data: Any, source: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise DistilmqUserError(f"'{source}' holds no mapping")
    return cast("dict[str, Any]", data)


def _odd(value: Any) -> Any:
    """What JSON has no word for, as text."""
    if isinstance(value, bytes):
        raise DistilmqUserError("Bytes cannot be saved as JSON: save the pipeline as YAML.")
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat else str(value)
