"""Small helpers without a noun of their own."""

from __future__ import annotations

from distilmq.utils.not_yet import window

_NO_MODULES = [
    "card",
    "export_components_info",
    "itertools",
    "logging",
    "mkdocs",
    "notebook",
    "ray",
    "template",
    "typing_",
]
"""Modules of distilabel that are not built."""

__getattr__, _ = window(__name__, {}, modules=_NO_MODULES)
