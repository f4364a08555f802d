"""Fakes for tests of pipelines and of distilmq itself, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from distilmq.testing.clock import ManualClock
    from distilmq.testing.llm import ScriptedLLM, requests_in
    from distilmq.testing.transport import MemoryTransport

_PLACES = {
    "ManualClock": "distilmq.testing.clock",
    "MemoryTransport": "distilmq.testing.transport",
    "ScriptedLLM": "distilmq.testing.llm",
    "requests_in": "distilmq.testing.llm",
}

__getattr__, __dir__ = window(__name__, _PLACES)

__all__ = ["ManualClock", "MemoryTransport", "ScriptedLLM", "requests_in"]
