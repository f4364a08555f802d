"""distilabel's import path for serialization; `mixins.serialization` and `utils.files` own it."""

from __future__ import annotations

from distilmq.utils.files import read_json, read_yaml, write_json, write_yaml
from distilmq.utils.not_yet import window

__all__ = ["read_json", "read_yaml", "write_json", "write_yaml"]

# Not imported: what is above this package in the layers.
__getattr__, _ = window(
    __name__,
    {
        "TYPE_INFO_KEY": "distilmq.mixins.serialization",
        "Serializable": "distilmq.mixins.serialization",
        "_Serializable": "distilmq.mixins.serialization",
    },
)
