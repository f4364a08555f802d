"""A picture as mermaid source, every name escaped."""

from __future__ import annotations

from distilmq.pipeline.picture import Picture


def mermaid(picture: Picture, *, top_to_bottom: bool, show_edge_labels: bool) -> str:
    """The flowchart; nodes are numbered, so no name can break the syntax."""
    ids = {node.key: f"n{number}" for number, node in enumerate(picture.nodes)}
    lines = [f"flowchart {'TD' if top_to_bottom else 'LR'}"]
    for node in picture.nodes:
        text = "<br>".join(escape(line) for line in (node.title, node.subtitle) if line)
        lines.append(f'    {ids[node.key]}["{text}"]:::{node.kind}')
    for arrow in picture.arrows:
        link = "-.->" if arrow.routed else "-->"
        label = "<br>".join(escape(line) for line in arrow.label) if show_edge_labels else ""
        shown = f'|"{label}"|' if label else ""
        lines.append(f"    {ids[arrow.source]} {link}{shown} {ids[arrow.target]}")
    lines += [
        "    classDef generator fill:#e3f2e1,stroke:#4f8a48",
        "    classDef normal fill:#e4ecf7,stroke:#4a6fa5",
        "    classDef global fill:#f8ecd8,stroke:#b07d2b",
        "    classDef task fill:#efe6f7,stroke:#7a55a3",
        "    classDef result fill:#f2f2f2,stroke:#777777",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that mermaid shows as it is: everything but letters, digits and a few marks as an entity."""
    return "".join(sign if sign.isalnum() or sign in " _-.,:()/" else f"#{ord(sign)};" for sign in text)
