"""Paints a picture of a pipeline as PNG, with Pillow and nothing else: no browser, no network."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from distilmq.pipeline.layout import Box, Layout, Point, place
from distilmq.pipeline.picture import Arrow, Node, Picture

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_SCALE = 4
"""Painted this much larger, then scaled down by half: lines and curves come out smooth."""
_MARGIN = 24.0
_PADDING = 14.0
_SPACING = 26.0
_TITLE, _SUBTITLE, _LABEL = 15, 12, 11
_LINE_GAP = 4
_HEAD = 9.0
_BEND = 56.0
"""Between layers, beside the labels: room for arrows to change lanes."""
_LEAD = 14.0
"""An arrow's straight piece before and behind its label."""
_DASH = 7.0
_CURVE_POINTS = 24
_ELSEWHERE = ("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "msyh.ttc")
"""Fonts of the system for names that the font shipped with Pillow has no letters for."""

_COLOURS = {
    "generator": ("#e3f2e1", "#4f8a48"),
    "normal": ("#e4ecf7", "#4a6fa5"),
    "global": ("#f8ecd8", "#b07d2b"),
    "task": ("#efe6f7", "#7a55a3"),
    "result": ("#f2f2f2", "#777777"),
}
_INK, _FAINT, _ARROW = "#1d1d1f", "#5f6368", "#5f6368"


def paint(picture: Picture, *, top_to_bottom: bool = False, show_edge_labels: bool = True) -> bytes:
    """The picture as PNG."""
    return _Painter(picture, top_to_bottom=top_to_bottom, show_edge_labels=show_edge_labels).png()


class _Painter:
    def __init__(self, picture: Picture, *, top_to_bottom: bool, show_edge_labels: bool) -> None:
        self._picture = picture
        self._down = top_to_bottom
        self._labels = show_edge_labels
        self._fonts: dict[tuple[int, bool], FreeTypeFont] = {}
        self._layout = self._place()

    def png(self) -> bytes:
        from PIL import Image, ImageDraw

        width, height = self._turn((self._layout.along, self._layout.across))
        size = (math.ceil((width + 2 * _MARGIN) * _SCALE), math.ceil((height + 2 * _MARGIN) * _SCALE))
        image = Image.new("RGB", size, "white")
        draw: Any = ImageDraw.Draw(image)
        for arrow in self._picture.arrows:
            self._arrow(draw, self._path(arrow), dashed=arrow.routed)
        for node in self._picture.nodes:
            self._node(draw, node)
        if self._labels:
            for arrow in self._picture.arrows:
                self._label(draw, arrow.label, self._label_at(arrow))
        half = image.resize((size[0] // 2, size[1] // 2), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        half.save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()

    def _place(self) -> Layout:
        boxes: dict[str, Box] = {}
        for node in self._picture.nodes:
            width, height = self._node_size(node)
            boxes[node.key] = Box(height, width) if self._down else Box(width, height)
        edges = [(arrow.source, arrow.target) for arrow in self._picture.arrows]
        gap = _BEND
        if self._labels:
            sizes = [self._text_size(arrow.label, _LABEL) for arrow in self._picture.arrows]
            gap += max((height if self._down else width for width, height in sizes), default=0.0) + 2 * _LEAD
            for arrow in self._picture.arrows:  # no label is wider than the lane of the box it stands at
                label = self._text_size(arrow.label, _LABEL)
                key = arrow.target if self._spreads(arrow.source) else arrow.source
                box = boxes[key]
                boxes[key] = Box(box.along, max(box.across, label[0] if self._down else label[1]))
        return place(boxes, edges, gap=gap, spacing=_SPACING)

    def _node(self, draw: Any, node: Node) -> None:
        fill, outline = _COLOURS[node.kind]
        width, height = self._node_size(node)
        x, y = self._turn(self._layout.centres[node.key])
        corners = (*self._pixel((x - width / 2, y - height / 2)), *self._pixel((x + width / 2, y + height / 2)))
        draw.rounded_rectangle(corners, radius=8 * _SCALE, fill=fill, outline=outline, width=round(1.5 * _SCALE))
        lift = (_SUBTITLE + _LINE_GAP) / 2 if node.subtitle else 0.0
        self._text(draw, node.title, (x, y - lift), _TITLE, _INK)
        if node.subtitle:
            self._text(draw, node.subtitle, (x, y + (_TITLE + _LINE_GAP) / 2), _SUBTITLE, _FAINT)

    def _arrow(self, draw: Any, path: Sequence[Point], *, dashed: bool) -> None:
        points = [self._turn(point) for point in _curve(path)]
        end, tail = points[-1], points[-2]
        angle = math.atan2(end[1] - tail[1], end[0] - tail[0])
        base = (end[0] - _HEAD * math.cos(angle), end[1] - _HEAD * math.sin(angle))
        for piece in _dashes([*points[:-1], base]) if dashed else [[*points[:-1], base]]:
            draw.line([self._pixel(point) for point in piece], fill=_ARROW, width=round(1.5 * _SCALE), joint="curve")
        wings = [
            (end[0] - _HEAD * math.cos(angle + turn), end[1] - _HEAD * math.sin(angle + turn)) for turn in (0.4, -0.4)
        ]
        draw.polygon([self._pixel(point) for point in (end, *wings)], fill=_ARROW)

    def _label(self, draw: Any, lines: Sequence[str], centre: Point) -> None:
        if not lines:
            return
        width, height = self._text_size(lines, _LABEL)
        left, top = centre[0] - width / 2 - 4, centre[1] - height / 2 - 2
        corners = (*self._pixel((left, top)), *self._pixel((left + width + 8, top + height + 4)))
        draw.rounded_rectangle(corners, radius=4 * _SCALE, fill="white")
        for number, text in enumerate(lines):
            y = top + 2 + (number + 0.5) * (_LABEL + _LINE_GAP)
            self._text(draw, text, (centre[0], y), _LABEL, _FAINT)

    def _path(self, arrow: Arrow) -> list[Point]:
        """The points an arrow goes through: straight where its label stands."""
        path = self._layout.paths[arrow.source, arrow.target]
        if not (self._labels and arrow.label):
            return path
        lead = self._label_along(arrow) + 2 * _LEAD
        if self._spreads(arrow.source):
            along, across = path[-1]
            return [*path[:-1], (along - lead, across), path[-1]]
        along, across = path[0]
        return [path[0], (along + lead, across), *path[1:]]

    def _label_at(self, arrow: Arrow) -> Point:
        """The middle of a label: where the arrow is alone, which is at its target when others start with it."""
        path = self._layout.paths[arrow.source, arrow.target]
        middle = self._label_along(arrow) / 2 + _LEAD
        if self._spreads(arrow.source):
            return self._turn((path[-1][0] - middle - _HEAD / 2, path[-1][1]))
        return self._turn((path[0][0] + middle, path[0][1]))

    def _label_along(self, arrow: Arrow) -> float:
        width, height = self._text_size(arrow.label, _LABEL)
        return height if self._down else width

    def _spreads(self, source: str) -> bool:
        return sum(arrow.source == source for arrow in self._picture.arrows) > 1

    def _text(self, draw: Any, text: str, centre: Point, size: int, fill: str) -> None:
        draw.text(self._pixel(centre), text, font=self._font(size, text), fill=fill, anchor="mm")

    def _node_size(self, node: Node) -> tuple[float, float]:
        width = max(self._text_size([node.title], _TITLE)[0], self._text_size([node.subtitle], _SUBTITLE)[0])
        lines = _TITLE + (_LINE_GAP + _SUBTITLE if node.subtitle else 0)
        return width + 2 * _PADDING, lines + 2 * _PADDING

    def _text_size(self, lines: Sequence[str], size: int) -> tuple[float, float]:
        widths = [self._font(size, text).getlength(text) / _SCALE for text in lines]
        return max(widths, default=0.0), len(lines) * (size + _LINE_GAP)

    def _font(self, size: int, text: str) -> FreeTypeFont:
        plain = text.isascii()
        if (size, plain) not in self._fonts:
            self._fonts[size, plain] = _font(size * _SCALE, plain=plain)
        return self._fonts[size, plain]

    def _turn(self, point: Point) -> Point:
        """From (along, across) to (x, y)."""
        return (point[1], point[0]) if self._down else point

    def _pixel(self, point: Point) -> tuple[int, int]:
        return (round((point[0] + _MARGIN) * _SCALE), round((point[1] + _MARGIN) * _SCALE))


def _font(size: int, *, plain: bool) -> FreeTypeFont:
    from PIL import ImageFont

    for name in () if plain else _ELSEWHERE:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ImportError("Pillow was built without FreeType and cannot paint text: install a wheel of `pillow`.")
    return font


def _curve(path: Sequence[Point]) -> list[Point]:
    """A smooth line through the points that leaves and arrives along the flow."""
    curve: list[Point] = [path[0]]
    for (a, b), (c, d) in pairwise(path):
        half = (c - a) / 2
        for number in range(1, _CURVE_POINTS + 1):
            t = number / _CURVE_POINTS
            u = 1 - t
            along = u**3 * a + 3 * u * u * t * (a + half) + 3 * u * t * t * (c - half) + t**3 * c
            across = u**3 * b + 3 * u * u * t * b + 3 * u * t * t * d + t**3 * d
            curve.append((along, across))
    return curve


def _dashes(points: Sequence[Point]) -> list[list[Point]]:
    """A line cut into dashes."""
    pieces: list[list[Point]] = [[points[0]]]
    drawn, on = 0.0, True
    for (x, y), (end_x, end_y) in pairwise(points):
        length = math.hypot(end_x - x, end_y - y)
        done = 0.0
        while length - done > _DASH - drawn:
            done += _DASH - drawn
            here = (x + (end_x - x) * done / length, y + (end_y - y) * done / length)
            if on:
                pieces[-1].append(here)
            else:
                pieces.append([here])
            drawn, on = 0.0, not on
        drawn += length - done
        if on:
            pieces[-1].append((end_x, end_y))
    return [piece for piece in pieces if len(piece) > 1]
