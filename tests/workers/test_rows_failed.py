"""A step that knows which of its rows failed: it is called again without them, and not by halves."""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.errors import RowsFailedError
from distilmq_workers.halving import in_halves


class OddOnesFail:
    """Gives each row twice; says which rows are odd, and fails on them."""

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = rows
        self.calls: list[list[int]] = []

    def __call__(self, start: int, stop: int) -> list[int]:
        rows = list(self.rows[start:stop])
        self.calls.append(rows)
        odd: dict[int, Exception] = {place: ValueError(f"{row}!") for place, row in enumerate(rows) if row % 2}
        if odd:
            raise RowsFailedError(odd, rows=len(rows))
        return [row for row in rows for _ in range(2)]


def test_the_rows_it_names_fail_in_their_places() -> None:
    call = OddOnesFail([0, 2, 3, 4, 5])

    pieces = in_halves(call, 5, passes=lambda _: False)

    found = [(piece.start, piece.stop, piece.given, str(piece.error or "")) for piece in pieces]
    assert found == [(0, 2, [0, 0, 2, 2], ""), (2, 3, None, "3!"), (3, 4, [4, 4], ""), (4, 5, None, "5!")]


def test_it_is_called_again_with_what_lies_between() -> None:
    call = OddOnesFail([0, 2, 3, 4, 5])

    in_halves(call, 5, passes=lambda _: False)

    assert call.calls == [[0, 2, 3, 4, 5], [0, 2], [4]]


def test_a_step_that_keeps_state_is_not_called_again() -> None:
    call = OddOnesFail([0, 3])

    pieces = in_halves(call, 2, passes=lambda _: False, divide=False)

    assert [piece.given for piece in pieces] == [None, None]
    assert call.calls == [[0, 3]]
