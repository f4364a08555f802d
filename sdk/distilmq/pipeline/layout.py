"""Where the boxes and arrows of a picture go: a layered layout, after Sugiyama; pure.

Steps are put in layers by the longest way to them; an edge that passes a layer gets a place in it, so that
arrows go around boxes. The order within a layer is found by sweeps that put each box at the mean of its
neighbours and keeps the order with the fewest crossings; the places then are the nearest to the neighbours
that keep order and distance (isotonic regression, by pooling adjacent violators).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
Edge = tuple[str, str]

_SWEEPS = 12
_LANE = 24.0
"""Cross size of an edge that passes a layer."""


@dataclass(frozen=True, slots=True)
class Box:
    """What has to be placed: its size along the flow and across it."""

    along: float
    across: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Centres of the boxes and the points each arrow goes through, in (along, across)."""

    centres: dict[str, Point]
    paths: dict[Edge, list[Point]]
    along: float
    across: float


def place(boxes: Mapping[str, Box], edges: Sequence[Edge], *, gap: float, spacing: float) -> Layout:
    """Lays out a graph without cycles.

    Args:
        boxes: in the order in which they should appear where nothing else decides.
        edges: between them.
        gap: between layers, along the flow.
        spacing: between boxes of a layer.
    """
    levels = _levels(list(boxes), edges)
    chains = {edge: _chain(edge, levels) for edge in edges}
    layers = _layers(levels, chains)
    links = [link for chain in chains.values() for link in pairwise(chain)]
    layers = _least_crossings(layers, links)
    sizes = {node: boxes.get(node, Box(0.0, _LANE)) for layer in layers for node in layer}
    across = _across(layers, links, sizes, spacing)
    along = _along(layers, sizes, gap)
    points = {node: (along[level], across[node]) for level, layer in enumerate(layers) for node in layer}
    return Layout(
        centres={name: points[name] for name in boxes},
        paths={edge: _path(chain, points, sizes) for edge, chain in chains.items()},
        along=along[-1] + max((sizes[node].along for node in layers[-1]), default=0.0) / 2 if layers else 0.0,
        across=max((across[node] + size.across / 2 for node, size in sizes.items()), default=0.0),
    )


def _levels(nodes: list[str], edges: Sequence[Edge]) -> dict[str, int]:
    levels = dict.fromkeys(nodes, 0)
    for _ in nodes:
        for source, target in edges:
            levels[target] = max(levels[target], levels[source] + 1)
    targets = {target for _, target in edges}
    for node in nodes:
        following = [levels[target] for source, target in edges if source == node]
        if node not in targets and following:  # a root stands just before what follows it
            levels[node] = min(following) - 1
    return levels


def _chain(edge: Edge, levels: Mapping[str, int]) -> list[str]:
    source, target = edge
    between = [f"{source}\0{target}\0{level}" for level in range(levels[source] + 1, levels[target])]
    return [source, *between, target]


def _layers(levels: Mapping[str, int], chains: Mapping[Edge, list[str]]) -> list[list[str]]:
    layers: list[list[str]] = [[] for _ in range(max(levels.values(), default=-1) + 1)]
    for node, level in levels.items():
        layers[level].append(node)
    for (source, _), chain in chains.items():
        for offset, node in enumerate(chain[1:-1], start=1):
            layers[levels[source] + offset].append(node)
    return layers


def _least_crossings(layers: list[list[str]], links: Sequence[Edge]) -> list[list[str]]:
    best, fewest = [list(layer) for layer in layers], _crossings(layers, links)
    current = [list(layer) for layer in layers]
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        pairs = links if forward else [(target, source) for source, target in links]
        indices = range(1, len(current)) if forward else range(len(current) - 2, -1, -1)
        for index in indices:
            fixed = {node: rank for rank, node in enumerate(current[index - 1 if forward else index + 1])}
            current[index] = _by_mean(current[index], fixed, pairs)
        crossings = _crossings(current, links)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in current], crossings
    return best


def _by_mean(layer: list[str], fixed: Mapping[str, int], pairs: Sequence[Edge]) -> list[str]:
    means: dict[str, float] = {}
    for rank, node in enumerate(layer):
        ranks = [fixed[source] for source, target in pairs if target == node and source in fixed]
        means[node] = sum(ranks) / len(ranks) if ranks else float(rank)
    return sorted(layer, key=means.__getitem__)


def _crossings(layers: Sequence[Sequence[str]], links: Sequence[Edge]) -> int:
    rank = {node: place for layer in layers for place, node in enumerate(layer)}
    level = {node: index for index, layer in enumerate(layers) for node in layer}
    count = 0
    for number, (source, target) in enumerate(links):
        for other, end in links[number + 1 :]:
            if level[source] == level[other] and (rank[source] - rank[other]) * (rank[target] - rank[end]) < 0:
                count += 1
    return count


def _across(
    layers: Sequence[Sequence[str]], links: Sequence[Edge], sizes: Mapping[str, Box], spacing: float
) -> dict[str, float]:
    places: dict[str, float] = {}
    for layer in layers:
        edge = 0.0
        for node in layer:
            places[node] = edge + sizes[node].across / 2
            edge += sizes[node].across + spacing
    neighbours: dict[str, list[str]] = {node: [] for node in places}
    for source, target in links:
        neighbours[source].append(target)
        neighbours[target].append(source)
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [_mean([places[near] for near in neighbours[node]], places[node]) for node in layer]
            distances = [(sizes[one].across + sizes[two].across) / 2 + spacing for one, two in pairwise(layer)]
            places.update(zip(layer, nearest_in_order(wanted, distances), strict=True))
    lowest = min((places[node] - sizes[node].across / 2 for node in places), default=0.0)
    return {node: place - lowest for node, place in places.items()}


def nearest_in_order(wanted: Sequence[float], distances: Sequence[float]) -> list[float]:
    """The places nearest to the wanted ones (least squares) that keep the order and these distances."""
    offsets = [0.0]
    for distance in distances:
        offsets.append(offsets[-1] + distance)
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=False):
        mean, count = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, size = blocks.pop()
            mean, count = (before * size + mean * count) / (size + count), size + count
        blocks.append((mean, count))
    flat = [mean for mean, count in blocks for _ in range(count)]
    return [place + offset for place, offset in zip(flat, offsets, strict=False)]


def _along(layers: Sequence[Sequence[str]], sizes: Mapping[str, Box], gap: float) -> list[float]:
    centres: list[float] = []
    edge = 0.0
    for layer in layers:
        thickness = max((sizes[node].along for node in layer), default=0.0)
        centres.append(edge + thickness / 2)
        edge += thickness + gap
    return centres


def _path(chain: Sequence[str], points: Mapping[str, Point], sizes: Mapping[str, Box]) -> list[Point]:
    start, end = points[chain[0]], points[chain[-1]]
    inner = [points[node] for node in chain[1:-1]]
    return [
        (start[0] + sizes[chain[0]].along / 2, start[1]),
        *inner,
        (end[0] - sizes[chain[-1]].along / 2, end[1]),
    ]


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default
