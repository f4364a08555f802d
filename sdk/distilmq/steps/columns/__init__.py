"""Steps that put columns together, take them apart, rename or drop them."""

from __future__ import annotations

from distilmq.steps.columns.combine import CombineOutputs
from distilmq.steps.columns.expand import ExpandColumns
from distilmq.steps.columns.group import GroupColumns
from distilmq.steps.columns.keep import KeepColumns
from distilmq.steps.columns.merge import MergeColumns

__all__ = ["CombineOutputs", "ExpandColumns", "GroupColumns", "KeepColumns", "MergeColumns"]
