"""distilabel's import path for routing functions; `steps.routing` owns them.

`distilmq.pipeline` imports this module before it binds the function of the same name: it stays the function there.
"""

from __future__ import annotations

from distilmq.steps.routing import RoutingBatchFunction, routing_batch_function, sample_n_steps

__all__ = ["RoutingBatchFunction", "routing_batch_function", "sample_n_steps"]
