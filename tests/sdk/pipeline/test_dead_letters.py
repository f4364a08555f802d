"""Dead letters as a person reads them: whole, whatever was left out on the way."""

from __future__ import annotations

from typing import Any

from distilmq.pipeline.dead_letters import readable
from distilmq.protocol.rows import encode_row


def letter(row: int, *, traceback: str = "", message: str = "no", seq_no: list[int] | None = None) -> dict[str, Any]:
    return {
        "step": "dedup",
        "input": encode_row({"n": row}),
        "error": {"type": "ValueError", "message": message, "traceback": traceback},
        "seq_no": seq_no or [],
        "part": 0,
        "row": row,
    }


def test_a_letter_shows_the_row_the_error_and_its_traceback() -> None:
    (read,) = readable([letter(3, traceback="Traceback …")])

    assert (read["step"], read["input"], read["error"]) == ("dedup", {"n": 3}, "ValueError: no")
    assert read["traceback"] == "Traceback …"


def test_rows_that_failed_together_share_the_traceback_that_only_the_first_brought() -> None:
    read = readable([letter(0, traceback="Traceback …"), letter(1), letter(2)])

    assert [one["traceback"] for one in read] == ["Traceback …"] * 3


def test_a_traceback_is_not_given_to_rows_that_failed_otherwise() -> None:
    read = readable([letter(0, traceback="Traceback …"), letter(1, message="yes"), letter(2, seq_no=[5])])

    assert [one["traceback"] for one in read] == ["Traceback …", "", ""]
