"""A step that knows which of its rows failed: they are buried, the others come out without halving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distilmq.errors import RowsFailedError
from distilmq.protocol.rows import decode_row, encode_row
from distilmq_workers.halving import Halving, Outcome

Row = dict[str, Any]


class Doubler:
    """Gives each row twice; says which rows are odd, and fails on them."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, inputs: Sequence[list[Row]], places: Sequence[int]) -> list[Row]:
        [rows] = inputs
        self.calls.append([row["n"] for row in rows])
        odd: dict[int, Exception] = {i: ValueError(f"{row['n']}!") for i, row in enumerate(rows) if row["n"] % 2}
        if odd:
            raise RowsFailedError(odd, rows=len(rows))
        return [{**row, "copy": copy} for row in rows for copy in (0, 1)]


def through(call: Doubler, numbers: Sequence[int]) -> Outcome:
    rows = [encode_row({"n": n}) for n in numbers]
    return Halving(call, [rows], step="double", outputs=["copy"], stateful=False).run()


def test_the_rows_it_names_are_buried_in_their_places() -> None:
    outcome = through(Doubler(), [0, 2, 3, 4, 5])

    rows = [decode_row(row) for row in outcome.rows]
    assert [(row["n"], row["copy"]) for row in rows] == [
        (0, 0),
        (0, 1),
        (2, 0),
        (2, 1),
        (3, None),
        (4, 0),
        (4, 1),
        (5, None),
    ]
    assert [(failure.row, failure.error.message) for failure in outcome.failures] == [(2, "3!"), (4, "5!")]
    assert rows[4]["distilmq_metadata"] == {"error_double": "ValueError: 3!"}


def test_the_rows_between_are_called_again_as_they_stand() -> None:
    call = Doubler()

    through(call, [0, 2, 3, 4, 5])

    assert call.calls == [[0, 2, 3, 4, 5], [0, 2], [4]]
