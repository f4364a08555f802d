"""The None row of a row that killed its workers."""

from __future__ import annotations

from distilmq.protocol.messages import ErrorInfo
from distilmq.protocol.plan import StepSpec
from distilmq.protocol.rows import decode_row, decode_rows, encode_rows
from distilmq_broker.burying import buried_row

STEP = StepSpec(name="ask", kind="normal", size=1, outputs=("answer", "model"))
ERROR = ErrorInfo(type="WorkerDied", message="signal 9, three times")


def test_outputs_are_none_inputs_stay_and_the_metadata_says_why() -> None:
    payload, letter = buried_row(STEP, [encode_rows([{"text": "x", "answer": "old"}])], ERROR)

    assert decode_rows(payload) == [
        {
            "text": "x",
            "answer": None,
            "model": None,
            "distilmq_metadata": {"error_ask": "WorkerDied: signal 9, three times"},
        }
    ]
    assert decode_row(letter) == {"text": "x", "answer": "old"}


def test_earlier_metadata_is_kept() -> None:
    row = {"distilmq_metadata": {"raw_input_x": 1}}

    payload, _ = buried_row(STEP, [encode_rows([row])], ERROR)

    (buried,) = decode_rows(payload)
    assert set(buried["distilmq_metadata"]) == {"raw_input_x", "error_ask"}


def test_branches_of_a_join_are_put_together() -> None:
    payload, _ = buried_row(STEP, [encode_rows([{"a": 1, "c": "left"}]), encode_rows([{"b": 2, "c": "right"}])], ERROR)

    (buried,) = decode_rows(payload)
    assert (buried["a"], buried["b"], buried["c"]) == (1, 2, "left")
