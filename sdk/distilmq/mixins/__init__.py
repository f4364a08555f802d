"""What steps, models and pipelines have in common: runtime parameters, serialization, secrets, signatures."""

from __future__ import annotations

from distilmq.utils.not_yet import window

__getattr__, _ = window(__name__, {}, modules=["requirements"])
