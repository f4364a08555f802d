"""Where the rows of a batch came from, in the output of forks further up: slicing and merging of labels.

A batch that gives as many rows as it took keeps the labels of its input row by row. Any other becomes one
segment that cannot be cut: its rows belong, together, to everything the batch took.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from distilmq_broker.core.chunks import Chunk
from distilmq_broker.core.facts import Segment, Slice, Span

Segments = tuple[Segment, ...]


def origins(chunk: Chunk, fork: str, start: int, stop: int) -> Segments:
    """Where rows `start` to `stop` of a recorded batch came from, in the output of a fork.

    The fork's own rows come from themselves.
    """
    if chunk.step == fork:
        return (Segment(stop - start, chunk.seq_no, start, chunk.seq_no, stop, aligned=True),)
    for name, segments in chunk.span:
        if name == fork:
            return cut(segments, start, stop)
    return ()


def cut(segments: Sequence[Segment], start: int, stop: int) -> Segments:
    """The labels of rows `start` to `stop` of a run of labelled rows."""
    if len(segments) == 1 and start == 0 and stop == segments[0].rows:
        return tuple(segments)
    found: list[Segment] = []
    at = 0
    for segment in segments:
        if at >= stop:
            break
        low, high = max(start - at, 0), min(stop - at, segment.rows)
        if low < high:
            found.append(_piece(segment, low, high))
        at += segment.rows
    return tuple(found)


def _piece(segment: Segment, low: int, high: int) -> Segment:
    if low == 0 and high == segment.rows:
        return segment
    if segment.aligned:
        return replace(segment, rows=high - low, start=segment.start + low, stop=segment.start + high)
    return replace(segment, rows=high - low, closed=segment.closed and high == segment.rows)


def merge(runs: Iterable[Segments]) -> Segments:
    """The labels of runs of rows put one behind the other."""
    found: list[Segment] = []
    for segments in runs:
        for segment in segments:
            if found and (merged := _merged(found[-1], segment)) is not None:
                found[-1] = merged
            elif segment.rows:
                found.append(segment)
    return tuple(found)


def _merged(one: Segment, other: Segment) -> Segment | None:
    if one.aligned and other.aligned:
        if one.last == other.first and one.stop == other.start:
            return replace(one, rows=one.rows + other.rows, stop=other.stop)
        return None
    same = (one.first, one.start, one.last, one.stop) == (other.first, other.start, other.last, other.stop)
    if same and not one.aligned and not other.aligned:
        return replace(one, rows=one.rows + other.rows, closed=other.closed)
    return None


def hull(segments: Sequence[Segment], rows: int) -> Segments:
    """One segment of so many rows that came, together, from everything these came from."""
    if not segments:
        return ()
    first = min((segment.first, segment.start) for segment in segments)
    last = max((segment.last, segment.stop) for segment in segments)
    closed = all(segment.closed for segment in segments if (segment.last, segment.stop) == last)
    return (Segment(rows, *first, *last, aligned=False, closed=closed),)


def of_output(span: Span, taken: int, rows: int) -> Span:
    """The labels of what a batch gave, from the labels of what it took."""
    if rows == taken or not span:
        return span
    return tuple((fork, hull(segments, rows)) for fork, segments in span)


Piece = tuple[Chunk, int, int]
"""Rows `start` to `stop` of a recorded batch."""


def of_input(forks: Sequence[str], branches: Sequence[Sequence[Piece]], *, even: bool) -> Span:
    """The labels of the rows that a batch takes from its predecessors.

    Args:
        even: the branches are paired row by row, so that any of them tells where a row came from.
    """
    if not forks:
        return ()
    filled = [pieces for pieces in branches if pieces]
    if even:
        return tuple((fork, merge(_origins(fork, piece) for piece in filled[0])) for fork in forks)
    rows = max(sum(stop - start for _, start, stop in pieces) for pieces in filled)
    pieces = [piece for each in filled for piece in each]
    return tuple((fork, hull(merge(_origins(fork, piece) for piece in pieces), rows)) for fork in forks)


def _origins(fork: str, piece: Piece) -> Segments:
    chunk, start, stop = piece
    return origins(chunk, fork, start, stop)


def halves(inputs: Sequence[Slice], rows: int) -> tuple[tuple[Slice, ...], tuple[Slice, ...]]:
    """The first `rows` rows of some slices, and the rest."""
    first: list[Slice] = []
    rest: list[Slice] = []
    for part in inputs:
        middle = min(part.stop, part.start + max(0, rows))
        if middle > part.start:
            first.append(replace(part, stop=middle))
        if middle < part.stop:
            rest.append(replace(part, start=middle))
        rows -= part.stop - part.start
    return tuple(first), tuple(rest)
