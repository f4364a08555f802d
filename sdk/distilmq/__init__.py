from __future__ import annotations


def __getattr__(name: str) -> str:
    """`__version__`, read when it is first asked for: that takes 30 ms."""
    if name != "__version__":
        raise AttributeError(f"module 'distilmq' has no attribute '{name}'")
    from importlib import metadata

    return metadata.version("distilmq")
