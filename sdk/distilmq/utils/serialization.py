"""distilabel's import path for serialization."""

from __future__ import annotations

from distilmq.mixins.serialization import TYPE_INFO_KEY, Serializable, dump_value, load_value
from distilmq.utils.files import read_json, read_yaml, write_json, write_yaml

_Serializable = Serializable

__all__ = [
    "TYPE_INFO_KEY",
    "Serializable",
    "_Serializable",
    "dump_value",
    "load_value",
    "read_json",
    "read_yaml",
    "write_json",
    "write_yaml",
]
