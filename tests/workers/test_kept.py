"""Rows that are known already are not given to the step; all come out in the order of the input."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from distilmq.protocol import messages as m
from distilmq.protocol.packing import pack
from distilmq.protocol.rows import decode_rows, encode_row, encode_rows
from distilmq.steps.base import Step
from distilmq.steps.remarks import remark_counts
from distilmq.typing import StepColumns, StepOutput
from distilmq_workers.jobs import JobOffice
from distilmq_workers.kept import Computed, KnownRow, gaps, kept_rows, put_together
from distilmq_workers.runner import Runner

Row = dict[str, Any]


class Seeing(Step):
    """Says how many rows each call had; drops odd numbers or doubles them, where it is told to."""

    drops: bool = False
    doubles: bool = False
    calls: list[list[int]] = Field(default_factory=list[list[int]])

    @property
    def outputs(self) -> StepColumns:
        return ["seen"]

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        self.calls.append([row["n"] for row in inputs])
        if self.doubles:
            remark_counts(2 for _ in inputs)
        for row in inputs:
            if row["n"] == 13:
                raise ValueError("unlucky")
            if not self.drops or row["n"] % 2 == 0:
                yield [{**row, "seen": True}] * (2 if self.doubles else 1)


def run(step: Seeing, kept: dict[int, list[Row]], count: int = 6, *, first: int = 10) -> tuple[m.Result, list[Row]]:
    """The result of a batch of numbers of which some rows are known, with its rows."""
    frames = [encode_rows([{"n": first + place} for place in range(count)])]
    if kept:
        frames.append(pack([[place, [encode_row(row) for row in rows], None] for place, rows in kept.items()]))
    batch = m.Batch(lease=m.Lease(step="see", seq_no=()), inputs=("load",), kept=bool(kept))
    assign = m.Assign(step="see", replica=0, outputs=("seen",))
    runner = Runner(
        step,
        assign,
        session="s",
        keep_answer=lambda *_: None,
        draining=lambda: False,
        max_message=lambda: None,
        jobs=JobOffice("s", lambda event: None),
    )
    ended = runner.run(batch, frames)
    assert isinstance(ended.answer, m.Result)
    return ended.answer, decode_rows(ended.payload[0])


def test_only_what_is_missing_is_computed_by_one_call() -> None:
    step = Seeing(name="see")

    result, rows = run(step, {0: [{"kept": 0}], 2: [{"kept": 2}], 3: [{"kept": 3}]})

    assert step.calls == [[11, 14, 15]]
    assert [row.get("n", row.get("kept")) for row in rows] == [0, 11, 2, 3, 14, 15]
    assert (result.rows, result.counts) == (6, ())


def test_a_step_is_not_called_when_all_rows_are_known() -> None:
    step = Seeing(name="see")

    _, rows = run(step, {place: [{"kept": place}] for place in range(6)})

    assert (step.calls, len(rows)) == ([], 6)


def test_a_row_that_fails_again_is_named_by_its_place_in_the_batch() -> None:
    result, rows = run(Seeing(name="see"), {0: [{"kept": 0}], 2: [{"kept": 2}]})

    assert [(failure.row, failure.error.type) for failure in result.failures] == [(3, "ValueError")]
    assert rows[3]["seen"] is None
    assert [row.get("n", row.get("kept")) for row in rows] == [0, 11, 2, 13, 14, 15]


def test_a_step_that_says_how_many_rows_each_gave_is_told_apart_row_by_row() -> None:
    step = Seeing(name="see", doubles=True)

    result, rows = run(step, {1: [{"kept": 1}] * 3}, 3)

    assert step.calls == [[10, 12]]
    assert [row.get("n", row.get("kept")) for row in rows] == [10, 10, 1, 1, 1, 12, 12]
    assert result.counts == (2, 3, 2)


def test_a_step_that_does_not_say_is_called_with_what_stands_together() -> None:
    step = Seeing(name="see", drops=True)

    result, rows = run(step, {2: [{"kept": 2}]}, 6, first=20)

    assert step.calls == [[20, 21, 23, 24, 25], [20, 21], [23, 24, 25]]
    assert [row.get("n", row.get("kept")) for row in rows] == [20, 2, 24]
    assert result.counts == ()


def test_how_many_rows_came_for_each_is_told_where_it_is_not_one_each() -> None:
    assert run(Seeing(name="see", doubles=True), {}, 2)[0].counts == (2, 2)
    assert run(Seeing(name="see"), {}, 2)[0].counts == ()


def test_a_row_that_was_kept_as_failed_stays_a_failed_row() -> None:
    failure = m.RowFailure(row=9, error=m.ErrorInfo(type="E", message="no"))

    together = put_together({1: KnownRow([b"known"], failure)}, [Computed([0], [b"new"], [1])])

    assert together.rows == [b"new", b"known"]
    assert [(each.row, each.error.type) for each in together.failures] == [(1, "E")]


def test_a_frame_that_is_none_gives_nothing() -> None:
    assert kept_rows(b"junk") == kept_rows(pack([1, 2])) == kept_rows(b"") == {}


def test_places_are_cut_where_one_is_missing() -> None:
    assert [list(gap) for gap in gaps([0, 1, 3, 4, 5, 9])] == [[0, 1], [3, 4, 5], [9]]
    assert gaps([]) == []
