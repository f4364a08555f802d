"""`distilmq launch`: what starts workers once, and what starts and stops them by what runs need."""

from __future__ import annotations

from distilmq_broker.launchers.cli import app
from distilmq_broker.scaling.cli import app as autoscale

app.add_typer(autoscale, name="autoscale")

__all__ = ["app"]
