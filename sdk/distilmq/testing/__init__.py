"""Fakes for tests of pipelines and of distilmq itself."""

from distilmq.testing.clock import ManualClock
from distilmq.testing.transport import MemoryTransport

__all__ = ["ManualClock", "MemoryTransport"]
