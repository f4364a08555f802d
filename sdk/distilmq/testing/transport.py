"""The transport within one process, as tests import it."""

from __future__ import annotations

from distilmq.transport.memory import MemoryConnection, MemoryListener, MemoryTransport

__all__ = ["MemoryConnection", "MemoryListener", "MemoryTransport"]
