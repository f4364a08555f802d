"""What to cite: the BibTeX entries in the docstrings of the steps that a pipeline is made of."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from distilmq.utils.docstring import sections
from distilmq.utils.serialization import read_yaml

_OURS = "distilmq."
_THEIRS = "distilabel."
_FENCE = re.compile(r"^\s*```.*$", re.MULTILINE)
_ENTRY = re.compile(r"^\s*@\w+\s*\{", re.MULTILINE)


def citations_of(pipeline_config: Path) -> list[str]:
    """The BibTeX entries of a pipeline's steps, each once, sorted.

    Only classes of distilmq and of modules that are loaded already are looked at: a saved pipeline is data,
    and reading what it cites runs no code of it.
    """
    config: Any = read_yaml(pipeline_config)
    found: set[str] = set()
    for module, name in _classes(config):
        found.update(_entries(_docstring_section(module, name)))
    return sorted(found)


def named_pipeline(pipeline_config: Path) -> tuple[str, str]:
    """Name and description of a saved pipeline."""
    config: Any = read_yaml(pipeline_config)
    pipeline: Any = config.get("pipeline") or {}
    return str(pipeline.get("name") or ""), str(pipeline.get("description") or "")


def _classes(node: Any) -> Iterator[tuple[str, str]]:
    """Module and name of every class that a dump names, at any depth."""
    if isinstance(node, Mapping):
        parts = cast("Mapping[str, Any]", node)
        info: Any = parts.get("type_info")
        if isinstance(info, Mapping):
            named = cast("Mapping[str, Any]", info)
            yield str(named.get("module", "")), str(named.get("name", ""))
        for part in parts.values():
            yield from _classes(part)
    elif isinstance(node, list):
        for item in cast("list[Any]", node):
            yield from _classes(item)


def _docstring_section(module: str, name: str) -> str:
    if module.startswith(_THEIRS):
        module = _OURS + module.removeprefix(_THEIRS)
    try:
        loaded = importlib.import_module(module) if module.startswith(_OURS) else sys.modules.get(module)
    except ImportError:
        return ""
    class_: Any = getattr(loaded, name, None)
    return "" if class_ is None else sections(class_).get("citations", "")


def _entries(section: str) -> Iterator[str]:
    text = _FENCE.sub("", section)
    starts = [match.start() for match in _ENTRY.finditer(text)]
    for start, end in pairwise([*starts, len(text)]):
        entry = "\n".join(line.rstrip() for line in text[start:end].strip().splitlines())
        if entry:
            yield entry
