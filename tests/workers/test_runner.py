"""Running a batch: rows that raise, rows that cannot travel, joins, and steps that keep state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, cast

import pytest

from distilmq.errors import RequestError, StepFatalError
from distilmq.models.requests.meter import current_meter
from distilmq.protocol import messages as m
from distilmq.protocol.rows import decode_row, decode_rows, decode_value, encode_rows
from distilmq.protocol.usage import Usage
from distilmq.steps.base import Step
from distilmq.steps.remarks import remark_failure, remark_row
from distilmq.typing import GeneratorStepOutput, StepColumns, StepOutput
from distilmq_workers.jobs import JobOffice
from distilmq_workers.runner import Ended, Runner
from tests.workers import sample_steps as samples

Rows = list[dict[str, Any]]


class Odd(Step):
    """Gives what cannot travel for some rows; drops or doubles others."""

    @property
    def outputs(self) -> StepColumns:
        return ["out"]

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        for row in inputs:
            out: Any = {"deep": {1, 2}} if row["n"] == 2 else row["n"]
            yield [{**row, "out": out}] * row.get("times", 1)


class Remembering(Step):
    """Raises from the second row on; counts its calls."""

    stateful = True
    calls: int = 0

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        self.calls += 1
        raise ValueError("lost my place")
        yield inputs


class Spoiling(samples.Double):
    """Changes its rows before it raises."""

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        for row in inputs:
            row["n"] += 100
        if len(inputs) > 1:
            raise ValueError("too many")
        yield inputs


class Joining(Step):
    """A join whose lists may differ; fails for some."""

    @property
    def outputs(self) -> StepColumns:
        return ["out"]

    def process(self, *inputs: Any) -> StepOutput:
        if any(row["n"] == 2 for row in inputs[0]):
            raise ValueError("two")
        yield [{**a, **b, "out": 1} for a, b in zip(*inputs, strict=True)]


def run(step: Any, *inputs: Iterable[dict[str, Any]], kind: str = "normal", offset: int = 0) -> Ended:
    assign = m.Assign(step=step.name, replica=0, step_kind=cast(Any, kind), outputs=tuple(step.get_outputs()))
    runner = Runner(
        step,
        assign,
        session="me",
        keep_answer=lambda lease, row, key, occurrence, answer: None,
        draining=lambda: False,
        max_message=lambda: None,
        jobs=JobOffice("me", lambda event: None),
    )
    names = tuple(f"branch_{place}" for place in range(len(inputs)))
    batch = m.Batch(lease=m.Lease(step=step.name, seq_no=()), inputs=names, offset=offset)
    return runner.run(batch, [encode_rows(rows) for rows in inputs])


def result(ended: Ended) -> tuple[m.Result, Rows]:
    assert isinstance(ended.answer, m.Result), ended.answer
    rows = decode_rows(ended.payload[0])
    assert ended.answer.rows == len(rows)
    return ended.answer, rows


def numbers(values: Sequence[int], **more: Any) -> Rows:
    return [{"n": value, **more} for value in values]


def test_all_yields_of_a_batch_are_its_rows() -> None:
    _, rows = result(run(Odd(name="odd"), numbers([1, 3, 4])))

    assert [row["out"] for row in rows] == [1, 3, 4]


def test_lists_that_differ_in_length_are_not_zipped_short() -> None:
    even = run(samples.Pairing(name="pairing"), numbers([1, 2]), numbers([3, 4]))
    uneven = run(samples.Pairing(name="pairing"), numbers([1, 2]), numbers([3]))

    assert [row["pair"] for row in result(even)[1]] == [[1, 3], [2, 4]]
    assert isinstance(uneven.answer, m.Failed)
    assert uneven.answer.error.type == "JoinError"
    assert "'branch_0' gave 2, 'branch_1' gave 1" in uneven.answer.error.message


def test_a_row_that_cannot_travel_fails_alone() -> None:
    answer, rows = result(run(Odd(name="odd"), numbers([1, 2, 3])))

    assert [row["out"] for row in rows] == [1, None, 3]
    [failure] = answer.failures
    assert (failure.row, failure.error.type) == (1, "RowTypeError")
    for part in ("'odd'", "'out.deep'", "type set", "a sorted list"):
        assert part in failure.error.message
    assert rows[1]["distilmq_metadata"]["error_odd"].startswith("RowTypeError: the output of step 'odd'")


def test_of_an_expanders_row_only_the_column_that_cannot_travel_is_lost() -> None:
    answer, rows = result(run(Odd(name="odd"), numbers([1, 2], times=2)))

    assert [(row["n"], row["out"]) for row in rows] == [(1, 1), (1, 1), (2, None), (2, None)]
    assert [failure.row for failure in answer.failures] == [2, 3]
    assert "error_odd" in rows[3]["distilmq_metadata"]


def test_a_step_that_keeps_state_is_called_once_and_all_its_rows_fail() -> None:
    step = Remembering(name="remembering")

    answer, rows = result(run(step, numbers([1, 2, 3])))

    assert step.calls == 1
    assert [failure.row for failure in answer.failures] == [0, 1, 2]
    assert {failure.error.message for failure in answer.failures} == {"lost my place"}
    assert all(row["distilmq_metadata"] == {"error_remembering": "ValueError: lost my place"} for row in rows)


def test_a_call_that_raised_leaves_no_trace_in_the_rows() -> None:
    _, rows = result(run(Spoiling(name="spoiling"), numbers([1, 2])))

    assert [row["n"] for row in rows] == [101, 102]


def test_metadata_that_a_row_has_is_kept_when_it_fails() -> None:
    row = {"n": 3, "distilmq_metadata": {"raw": "text"}}

    _, [failed] = result(run(samples.Double(name="double", bad=(3,)), [row]))

    assert failed["distilmq_metadata"] == {"raw": "text", "error_double": "ValueError: no 3"}


def test_a_failed_row_of_a_join_carries_the_columns_of_all_branches() -> None:
    left, right = numbers([1, 2, 3], a=1), numbers([1, 2, 3], b=2)

    answer, rows = result(run(Joining(name="joining"), left, right))

    assert [row["out"] for row in rows] == [1, None, 1]
    assert {key: rows[1][key] for key in ("n", "a", "b")} == {"n": 2, "a": 1, "b": 2}
    assert decode_value(answer.failures[0].input) == [left[1], right[1]]


def test_a_global_step_that_gives_what_cannot_travel_keeps_its_other_rows() -> None:
    answer, rows = result(run(Odd(name="odd"), numbers([1, 2, 3]), kind="global"))

    assert [row["out"] for row in rows] == [1, None, 3]
    assert len(answer.failures) == 1


def test_what_is_no_list_of_dicts_fails_the_rows_with_the_reason() -> None:
    class Wrong(samples.Double):
        def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
            yield ["text"]  # type: ignore[list-item]

    answer, _ = result(run(Wrong(name="wrong"), numbers([1])))

    assert "list" in answer.failures[0].error.message


def test_a_process_without_a_yield_is_named_as_that() -> None:
    class Returning(samples.Double):
        def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
            return None  # type: ignore[return-value]

    answer, _ = result(run(Returning(name="returning"), numbers([1])))

    assert "'returning' has to yield lists of dicts, it returned None" in answer.failures[0].error.message


def test_an_error_whose_text_no_terminal_can_show_is_spelled_out() -> None:
    class Cut(samples.Double):
        def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
            raise ValueError("half of an emoji: \ud83d")
            yield inputs

    answer, rows = result(run(Cut(name="cut"), numbers([1])))

    assert answer.failures[0].error.message == "half of an emoji: \\ud83d"
    assert rows[0]["distilmq_metadata"] == {"error_cut": "ValueError: half of an emoji: \\ud83d"}


def test_of_a_traceback_that_is_too_long_both_ends_are_kept() -> None:
    class Loud(samples.Double):
        def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
            raise ValueError("x" * 1_000_000 + "the end")
            yield inputs

    answer, _ = result(run(Loud(name="loud"), numbers([1])))

    traceback = answer.failures[0].error.traceback
    assert traceback.startswith("Traceback (most recent call last):")
    assert traceback.endswith("the end\n")
    assert len(traceback) < 101_000


def test_a_class_of_exceptions_goes_by_its_name_wherever_it_was_defined() -> None:
    class Refused(Exception):
        """Defined in a function."""

    class Refusing(samples.Double):
        def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
            raise Refused
            yield inputs

    _, rows = result(run(Refusing(name="refusing"), numbers([1])))

    assert rows[0]["distilmq_metadata"] == {"error_refusing": "Refused"}


def test_the_input_of_a_failed_row_can_be_read_again() -> None:
    answer, _ = result(run(samples.Double(name="double", bad=(1,)), numbers([1], t=(1, 2))))

    assert decode_row(answer.failures[0].input) == {"n": 1, "t": (1, 2)}


@pytest.mark.parametrize("rows", [500, 3000])
def test_many_failures_fit_into_one_message(rows: int) -> None:
    from distilmq.protocol.codec import FROM_PEER, MAX_HEADER, decode, encode

    step = samples.Double(name="double", bad=tuple(range(rows)))

    ended = run(step, numbers(range(rows), text="x" * 2000))
    answer, out = result(ended)
    frames = encode(answer, ended.payload)

    assert len(answer.failures) == len(out) == rows
    assert len(frames[1]) < MAX_HEADER
    assert decode(frames, FROM_PEER)[0] == answer


class Asking(Step):
    """Counts a request per row, and fails where it is told to."""

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        meter = current_meter.get()
        assert meter is not None
        for row in inputs:
            meter.count(Usage(model=row.get("model", "m"), requests=1, input_tokens=row["n"]))
            if row.get("bad"):
                raise StepFatalError("no key")
        yield inputs


def test_a_result_says_what_the_process_has_had_from_models_so_far() -> None:
    step = Asking(name="asking")
    first = run(step, [*numbers([1, 2]), *numbers([5], model="n")])
    failed = run(step, numbers([7], bad=True))

    assert first.answer.usage == (
        Usage(model="m", requests=2, input_tokens=3),
        Usage(model="n", requests=1, input_tokens=5),
    )
    assert isinstance(failed.answer, m.Failed)
    assert failed.answer.usage == (Usage(model="m", requests=1, input_tokens=7),)


class CountingCalls(samples.Importing):
    """Counts how often it is called."""

    calls: int = 0

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        self.calls += 1
        yield from super().process(inputs)


class Unreadable(samples.Double):
    """Has answers that nothing here can read."""

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        try:
            import_module("a_package_that_nobody_has")
        except ImportError as error:
            remark_failure(error, "an answer", 0)
        yield from super().process(inputs)


class CountingOn(samples.Counting):
    """Counts as far as it can without a package."""

    def process(self, offset: int = 0) -> GeneratorStepOutput:
        for rows, last in super().process(offset):
            if rows[0]["n"] >= 2:
                import_module("a_package_that_nobody_has")
            yield rows, last


def assert_given_back(ended: Ended) -> None:
    assert isinstance(ended.answer, m.Returned)
    assert ended.payload == ()
    assert ended.lacks is not None
    assert (ended.lacks.type, ended.lacks.message) == (
        "ModuleNotFoundError",
        "No module named 'a_package_that_nobody_has'",
    )


@pytest.mark.parametrize("kind", ["normal", "global"])
def test_a_batch_with_a_row_that_needs_a_missing_package_goes_back_and_is_not_divided(kind: str) -> None:
    step = CountingCalls(name="needing", bad=(3,))

    ended = run(step, numbers(range(6)), kind=kind)

    assert_given_back(ended)
    assert step.calls == 1


def test_answers_that_only_a_missing_package_can_read_go_back() -> None:
    assert_given_back(run(Unreadable(name="needing"), numbers([1])))


def test_a_generator_that_comes_to_need_a_missing_package_gives_its_batch_back() -> None:
    step = CountingOn(name="counting", total=4, batch_size=2)

    assert_given_back(run(step, [], kind="generator", offset=2))


def test_a_wrong_import_of_a_package_that_is_there_fails_its_row_alone() -> None:
    answer, rows = result(run(samples.Importing(name="wrong", bad=(2,), module="json.nothing"), numbers([1, 2, 3])))

    assert [row["doubled"] for row in rows] == [2, None, 6]
    assert [failure.error.message for failure in answer.failures] == ["No module named 'json.nothing'"]


class Answering(samples.Double):
    """Has an answer that is of no use for 2, and a request that failed for 4."""

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        for place, row in enumerate(inputs):
            remark_row(place)
            if row["n"] == 2:
                remark_failure(ValueError("no number"), "about two", 0)
            if row["n"] == 4:
                error = RequestError("malformed")
                error.answer, error.attempts = "{fou", 3
                raise error
        yield [{**row, "doubled": None if row["n"] == 2 else 2 * row["n"]} for row in inputs]


def test_a_dead_letter_holds_what_the_model_said_and_how_often_it_was_asked() -> None:
    answer, rows = result(run(Answering(name="answering"), numbers([1, 4])))

    (failure,) = answer.failures
    assert (failure.row, failure.error.type, failure.answer, failure.attempts) == (1, "RequestError", "{fou", 3)
    assert [row["doubled"] for row in rows] == [2, None]


def test_a_row_whose_answer_is_of_no_use_comes_out_and_is_a_dead_letter_as_well() -> None:
    answer, rows = result(run(Answering(name="answering"), numbers([1, 2, 3, 4])))

    told = [(failure.row, failure.error.message, failure.answer) for failure in answer.failures]
    assert told == [(1, "no number", "about two"), (3, "malformed", "{fou")]
    assert decode_row(answer.failures[0].input) == {"n": 2}
    assert rows[1] == {"n": 2, "doubled": None}
