"""Reading Google style docstrings: what a class or function says about its parameters."""

from __future__ import annotations

import inspect
import re
from typing import Any

_SECTION = re.compile(r"^(?P<title>[A-Z][A-Za-z ]*):\s*$")
_ENTRY = re.compile(r"^(?P<name>[`*\w.\-\[\]]+)\s*(?:\((?P<type>[^)]*)\))?\s*:\s*(?P<text>.*)$")


def sections(documented: Any) -> dict[str, str]:
    """The sections of a docstring, title in snake case to text; what stands before the first is `description`."""
    found: dict[str, list[str]] = {"description": []}
    current = "description"
    for line in (inspect.getdoc(documented) or "").splitlines():
        title = _SECTION.match(line)
        if title:
            current = title["title"].strip().lower().replace(" ", "_")
            found.setdefault(current, [])
        else:
            found[current].append(line)
    return {name: inspect.cleandoc("\n" + "\n".join(lines)).strip() for name, lines in found.items()}


def entries(section: str) -> dict[str, str]:
    """The entries of a section of the form `name: text`, their further lines joined."""
    found: dict[str, str] = {}
    current = ""
    for line in section.splitlines():
        entry = _ENTRY.match(line)
        if entry and not line.startswith((" ", "\t")):
            current = entry["name"].strip("`*")
            found[current] = entry["text"].strip()
        elif current and line.strip():
            found[current] = f"{found[current]} {line.strip()}".strip()
    return found


def parse_google_docstring(documented: Any) -> dict[str, Any]:
    """A docstring in parts: sections of `name: text` entries as dicts, the others as text.

    Returns:
        `short_description`, `description`, and each section under its title in snake case (`args`,
        `attributes`, `runtime_parameters`, `returns`, `references`, `examples`, …).
    """
    found: dict[str, Any] = dict(sections(documented))
    found["short_description"] = found["description"].split("\n\n", 1)[0].replace("\n", " ").strip()
    for name in ("args", "attributes", "runtime_parameters", "input_columns", "output_columns", "raises"):
        found[name] = entries(found.get(name, ""))
    return found


def described_parameters(documented: Any) -> dict[str, str]:
    """What a class's or function's own docstring says about its attributes and parameters."""
    parts = sections(documented)
    found: dict[str, str] = {}
    for name in ("attributes", "args", "runtime_parameters"):
        found.update(entries(_without_bullets(parts.get(name, ""))))
    return found


def _without_bullets(text: str) -> str:
    return "\n".join(re.sub(r"^[-*] ", "", line) for line in text.splitlines())
