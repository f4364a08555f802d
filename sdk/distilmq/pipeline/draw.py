"""Draws a pipeline: the painted picture, and its mermaid source beside it."""

from __future__ import annotations

from pathlib import Path

from distilmq.errors import DistilmqUserError
from distilmq.pipeline.dag import Dag
from distilmq.pipeline.mermaid import mermaid
from distilmq.pipeline.painting import paint
from distilmq.pipeline.picture import picture_of


def draw(dag: Dag, path: Path, *, top_to_bottom: bool = False, show_edge_labels: bool = True) -> str:
    """Writes the picture as PNG, and as `<path>.mmd` its source; returns the path of the PNG.

    Raises:
        DistilmqUserError: there is nothing to draw.
    """
    if not len(dag):
        raise DistilmqUserError("The pipeline has no steps: there is nothing to draw.")
    picture = picture_of(dag)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(paint(picture, top_to_bottom=top_to_bottom, show_edge_labels=show_edge_labels))
    source = mermaid(picture, top_to_bottom=top_to_bottom, show_edge_labels=show_edge_labels)
    path.with_suffix(".mmd").write_text(source, encoding="utf-8")
    return str(path)


def png(dag: Dag) -> bytes:
    """The picture as a notebook shows it."""
    return paint(picture_of(dag))
