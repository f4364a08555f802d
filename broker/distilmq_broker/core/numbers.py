"""Comparing batch numbers: the number behind all others, and the number of an enclosing batch."""

from __future__ import annotations

from distilmq.protocol.seq_no import SeqNo, number

END: SeqNo = (1 << 62,)
"""Behind every number: the watermark of a step that is finished."""


def enclosing(seq_no: SeqNo, depth: int) -> SeqNo:
    """The batch, of a step whose numbers have `depth` parts, that a number further down starts in.

    >>> enclosing((12, 0, 5), 1)
    (12,)
    """
    return seq_no if len(seq_no) <= depth else number(*seq_no[:depth])


def row_in(seq_no: SeqNo, depth: int) -> int:
    """The row of the enclosing batch at which a number starts.

    >>> row_in((12, 25, 3), 1), row_in((12,), 1)
    (25, 0)
    """
    return seq_no[depth] if len(seq_no) > depth else 0
