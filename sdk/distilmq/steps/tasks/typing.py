"""distilabel's older import path for the types of tasks."""

from __future__ import annotations

from distilmq.typing import (
    ChatItem,
    ChatType,
    FormattedInput,
    InstructorStructuredOutputType,
    OutlinesStructuredOutputType,
    StandardInput,
    StructuredInput,
    StructuredOutputType,
)

__all__ = [
    "ChatItem",
    "ChatType",
    "FormattedInput",
    "InstructorStructuredOutputType",
    "OutlinesStructuredOutputType",
    "StandardInput",
    "StructuredInput",
    "StructuredOutputType",
]
