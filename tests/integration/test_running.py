"""Whole pipelines over the real coordinator and real workers: what comes out, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from distilmq.errors import JoinError, RunError, StepError, StepLoadError
from distilmq.pipeline import Pipeline, routing_batch_function, sample_n_steps
from distilmq.steps import (
    CombineOutputs,
    ExpandColumns,
    GeneratorStep,
    GlobalStep,
    GroupColumns,
    KeepColumns,
    LoadDataFromDicts,
    MergeColumns,
    Step,
    StepInput,
    StepResources,
    step,
)

if TYPE_CHECKING:
    from distilmq.distiset import Distiset


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILMQ_CACHE_DIR", str(tmp_path / "cache"))


def numbers(count: int) -> list[dict[str, Any]]:
    return [{"n": n} for n in range(count)]


def rows(distiset: Distiset, leaf: str = "default") -> list[dict[str, Any]]:
    return [dict(row) for row in distiset[leaf]["train"]]


def column(distiset: Distiset, name: str, leaf: str = "default") -> list[Any]:
    return list(distiset[leaf]["train"][name])


class Square(Step):
    """Squares n."""

    @property
    def inputs(self) -> list[str]:
        return ["n"]

    @property
    def outputs(self) -> list[str]:
        return ["square"]

    def process(self, inputs: StepInput) -> Iterator[list[dict[str, Any]]]:
        yield [{**row, "square": row["n"] ** 2} for row in inputs]


@step(inputs=["n"], outputs=["n"])
def only_even(inputs: StepInput):  # as a user writes it
    yield [row for row in inputs if row["n"] % 2 == 0]


@step(inputs=["n"], outputs=["n", "copy"])
def thrice(inputs: StepInput):  # as a user writes it
    yield [{**row, "copy": copy} for row in inputs for copy in range(3)]


@step(inputs=["n"], outputs=["total"], step_type="global")
def total(inputs: StepInput):  # as a user writes it
    whole = sum(row["n"] for row in inputs)
    yield [{**row, "total": whole} for row in inputs]


def test_rows_arrive_in_the_order_of_the_input_whatever_the_replicas() -> None:
    with Pipeline("ordered") as pipeline:
        LoadDataFromDicts(data=numbers(200), batch_size=7) >> Square(
            input_batch_size=3, resources=StepResources(replicas=3)
        )

    distiset = pipeline.run()

    assert rows(distiset) == [{"n": n, "square": n * n} for n in range(200)]


def test_filters_and_expanders_keep_every_row_they_should() -> None:
    with Pipeline("sizes") as pipeline:
        (
            LoadDataFromDicts(data=numbers(101), batch_size=10)
            >> only_even(input_batch_size=4)
            >> thrice(input_batch_size=6)
            >> Square(input_batch_size=5)
        )

    distiset = pipeline.run()

    expected = [(n, copy, n * n) for n in range(0, 101, 2) for copy in range(3)]
    assert [(row["n"], row["copy"], row["square"]) for row in rows(distiset)] == expected


def test_a_join_pairs_the_right_rows() -> None:
    @step(inputs=["n"], outputs=["name", "n"])
    def first(inputs: StepInput):
        yield [{**row, "name": f"first {row['n']}"} for row in inputs]

    @step(inputs=["n"], outputs=["name", "n"])
    def second(inputs: StepInput):
        yield [{**row, "name": f"second {row['n']}"} for row in inputs]

    with Pipeline("join") as pipeline:
        load = LoadDataFromDicts(data=numbers(53), batch_size=10)
        branches = [
            first(input_batch_size=5, resources=StepResources(replicas=2)),
            second(input_batch_size=4, resources=StepResources(replicas=2)),
        ]
        load >> branches >> GroupColumns(columns=["name"], output_columns=["names"], input_batch_size=8)

    distiset = pipeline.run()

    assert column(distiset, "names") == [[f"first {n}", f"second {n}"] for n in range(53)]
    assert column(distiset, "n") == list(range(53))


def test_a_join_of_lists_that_differ_in_length_ends_the_run_with_both_counts() -> None:
    with Pipeline("short") as pipeline:
        load = LoadDataFromDicts(data=numbers(10), batch_size=10)
        load >> [Square(name="whole"), only_even(name="half")] >> CombineOutputs(name="combine")

    with pytest.raises((JoinError, RunError)) as caught:
        pipeline.run()

    message = str(caught.value)
    for word in ("combine", "whole", "half", "10", "5"):
        assert word in message


def test_a_routed_batch_goes_to_the_steps_chosen_and_comes_back_in_order() -> None:
    @step(inputs=["n"], outputs=["by"])
    def a(inputs: StepInput):
        yield [{**row, "by": "a"} for row in inputs]

    @step(inputs=["n"], outputs=["by"])
    def b(inputs: StepInput):
        yield [{**row, "by": "b"} for row in inputs]

    @step(inputs=["n"], outputs=["by"])
    def c(inputs: StepInput):
        yield [{**row, "by": "c"} for row in inputs]

    with Pipeline("routed") as pipeline:
        load = LoadDataFromDicts(data=numbers(60), batch_size=6)
        tasks = [make(name=name, input_batch_size=4) for make, name in ((a, "a"), (b, "b"), (c, "c"))]
        load >> sample_n_steps(2) >> tasks >> GroupColumns(columns=["by"], output_columns=["bys"])

    distiset = pipeline.run()

    assert column(distiset, "n") == list(range(60))
    chosen = column(distiset, "bys")
    assert all(len(pair) == 2 and len(set(pair)) == 2 for pair in chosen)
    for start in range(0, 60, 6):
        assert len({tuple(pair) for pair in chosen[start : start + 6]}) == 1, "one choice per batch"


def test_a_routing_function_at_the_root_takes_the_dataset_of_run() -> None:
    @routing_batch_function
    def only_the_first(steps: list[str]) -> list[str]:
        return [sorted(steps)[0]]

    with Pipeline("rooted") as pipeline:
        only_the_first >> [Square(name="one"), Square(name="two")]

    distiset = pipeline.run(dataset=numbers(10), dataset_batch_size=5)

    assert column(distiset, "square", "one") == [n * n for n in range(10)]
    assert len(distiset["two"]["train"]) == 0


def test_a_global_step_gets_all_rows_in_order() -> None:
    with Pipeline("global") as pipeline:
        (
            LoadDataFromDicts(data=numbers(30), batch_size=7)
            >> Square(input_batch_size=3, resources=StepResources(replicas=2))
            >> total()
            >> KeepColumns(columns=["n", "total"])
        )

    distiset = pipeline.run()

    assert rows(distiset) == [{"n": n, "total": 435} for n in range(30)]


@pytest.mark.parametrize("groups", ["sequential_step_execution", [["square"], ["keep"]]])
def test_load_groups_run_one_after_the_other(groups: Any) -> None:
    with Pipeline("groups") as pipeline:
        (
            LoadDataFromDicts(data=numbers(20), batch_size=5)
            >> Square(name="square")
            >> KeepColumns(name="keep", columns=["square"])
        )

    distiset = pipeline.run(load_groups=groups)

    assert column(distiset, "square") == [n * n for n in range(20)]


def test_all_yields_of_a_step_count() -> None:
    @step(inputs=["n"], outputs=["n"])
    def one_by_one(inputs: StepInput):
        for row in inputs:
            yield [row]

    with Pipeline("yields") as pipeline:
        LoadDataFromDicts(data=numbers(11), batch_size=4) >> one_by_one()

    assert column(pipeline.run(), "n") == list(range(11))


def test_an_empty_dataset_ends_cleanly() -> None:
    with Pipeline("empty") as pipeline:
        LoadDataFromDicts(data=[]) >> KeepColumns(columns=[])

    assert len(rows(pipeline.run())) == 0


def test_a_filter_that_empties_a_batch_ends_cleanly() -> None:
    @step(inputs=["n"], outputs=["n"])
    def none(inputs: StepInput):
        yield []

    with Pipeline("nothing") as pipeline:
        LoadDataFromDicts(data=numbers(10), batch_size=5) >> none() >> Square() >> total()

    assert len(rows(pipeline.run())) == 0


class Endless(GeneratorStep):
    """Yields without ever saying that a batch is the last."""

    @property
    def outputs(self) -> list[str]:
        return ["n"]

    def process(self, offset: int = 0) -> Iterator[tuple[list[dict[str, Any]], bool]]:
        for n in range(offset, 12, 4):
            yield [{"n": m} for m in range(n, n + 4)], False


def test_a_generator_that_never_says_last_ends_cleanly() -> None:
    with Pipeline("no-last") as pipeline:
        Endless(batch_size=4) >> Square()

    assert column(pipeline.run(), "square") == [n * n for n in range(12)]


def test_one_generator_step_alone_is_a_pipeline() -> None:
    with Pipeline("alone") as pipeline:
        LoadDataFromDicts(data=numbers(3))

    assert column(pipeline.run(), "n") == [0, 1, 2]


def test_a_failing_row_comes_out_as_none_and_its_neighbours_are_right() -> None:
    @step(inputs=["n"], outputs=["inverse"])
    def invert(inputs: StepInput):
        yield [{**row, "inverse": 1 / (row["n"] - 13)} for row in inputs]

    with Pipeline("failing") as pipeline:
        LoadDataFromDicts(data=numbers(40), batch_size=20) >> invert(name="invert", input_batch_size=20)

    distiset = pipeline.run()

    for row in rows(distiset):
        assert row["inverse"] == (None if row["n"] == 13 else 1 / (row["n"] - 13))
    failed = rows(distiset)[13]
    assert "ZeroDivisionError" in str(failed["distilmq_metadata"])
    (letter,) = pipeline.last_run.failures
    assert letter["step"] == "invert"
    assert "ZeroDivisionError" in str(letter)


def test_a_load_that_raises_ends_the_run_with_that_error() -> None:
    class Broken(Square):
        def load(self) -> None:
            super().load()
            raise FileNotFoundError("weights.bin")

    with Pipeline("broken") as pipeline:
        LoadDataFromDicts(data=numbers(3)) >> Broken(name="broken")

    with pytest.raises(StepLoadError, match="Failed to load all the steps") as caught:
        pipeline.run()

    assert "weights.bin" in str(caught.value) + str(caught.value.__cause__)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_package_that_rows_need_and_this_machine_lacks_ends_the_run_with_that_error_and_fails_no_row() -> None:
    @step(inputs=["n"], outputs=["n"])
    def score(inputs: StepInput):
        import a_package_that_nobody_has  # noqa: F401  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  # as it says

        yield inputs

    with Pipeline("lacking") as pipeline:
        LoadDataFromDicts(data=numbers(3)) >> score(name="score")

    with pytest.raises(StepLoadError, match="Step 'score' raised ModuleNotFoundError") as caught:
        pipeline.run()

    assert "No module named 'a_package_that_nobody_has'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert list(pipeline.last_run.failures) == []


def test_an_import_that_a_step_can_do_without_fails_no_run() -> None:
    @step(inputs=["n"], outputs=["n"])
    def score(inputs: StepInput):
        try:
            import a_package_that_nobody_has  # noqa: F401  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  # as it says
        except ImportError:
            if inputs[0]["n"] == 1:
                raise ValueError("no score for 1")  # noqa: B904  # it is about the row
        yield inputs

    with Pipeline("optional") as pipeline:
        LoadDataFromDicts(data=numbers(3)) >> score(name="score", input_batch_size=1)

    assert len(rows(pipeline.run())) == 3
    (letter,) = pipeline.last_run.failures
    assert "no score for 1" in str(letter)


def test_a_generator_or_global_step_that_raises_ends_the_run_with_that_error() -> None:
    @step(inputs=["n"], outputs=["n"], step_type="global")
    def explode(inputs: StepInput):
        raise KeyError("no such cluster")
        yield []

    with Pipeline("exploding") as pipeline:
        LoadDataFromDicts(data=numbers(3)) >> explode(name="explode")

    with pytest.raises(StepError) as caught:
        pipeline.run()

    assert "explode" in str(caught.value)
    assert "no such cluster" in str(caught.value) + str(caught.value.__cause__)


def test_a_worker_that_segfaults_on_a_row_loses_only_that_row() -> None:
    @step(inputs=["n"], outputs=["seen"])
    def poisoned(inputs: StepInput):
        import os

        if any(row["n"] == 7 for row in inputs):
            os._exit(11)
        yield [{**row, "seen": True} for row in inputs]

    with Pipeline("poison") as pipeline:
        LoadDataFromDicts(data=numbers(16), batch_size=8) >> poisoned(name="poisoned", input_batch_size=8)

    distiset = pipeline.run()

    assert [row["n"] for row in rows(distiset) if not row["seen"]] == [7]
    assert len(rows(distiset)) == 16


def test_a_dry_run_takes_one_batch_and_changes_nothing(tmp_path: Path) -> None:
    parameters = {"load": {"batch_size": 10}}
    with Pipeline("dry") as pipeline:
        load = LoadDataFromDicts(name="load", data=numbers(20), batch_size=10)
        load >> Square()

    distiset = pipeline.dry_run(parameters=parameters, batch_size=2)

    assert column(distiset, "square") == [0, 1]
    assert parameters == {"load": {"batch_size": 10}}
    assert load.batch_size == 10
    assert not list((tmp_path / "cache").rglob("ledger.db"))
    assert column(pipeline.run(parameters=parameters), "square") == [n * n for n in range(20)]


def test_merge_and_expand_are_each_others_inverse() -> None:
    data = [{"a": n, "b": -n} for n in range(9)]
    with Pipeline("merge") as pipeline:
        (
            LoadDataFromDicts(data=data, batch_size=4)
            >> MergeColumns(columns=["a", "b"], output_column="both")
            >> ExpandColumns(columns=["both"])
        )

    assert column(pipeline.run(), "both") == [value for n in range(9) for value in (n, -n)]


def test_several_leaves_are_several_subsets() -> None:
    with Pipeline("leaves") as pipeline:
        LoadDataFromDicts(data=numbers(8), batch_size=3) >> [Square(name="squares"), only_even(name="evens")]

    distiset = pipeline.run()

    assert sorted(distiset) == ["evens", "squares"]
    assert column(distiset, "n", "evens") == [0, 2, 4, 6]
    assert column(distiset, "square", "squares") == [n * n for n in range(8)]


def test_two_generators_are_paired_by_position() -> None:
    with Pipeline("two") as pipeline:
        one = LoadDataFromDicts(data=[{"a": n} for n in range(25)], batch_size=4)
        two = LoadDataFromDicts(data=[{"b": n} for n in range(25)], batch_size=7)
        [one, two] >> CombineOutputs(input_batch_size=6)

    assert [(row["a"], row["b"]) for row in rows(pipeline.run())] == [(n, n) for n in range(25)]


def test_a_global_step_may_follow_a_join() -> None:
    class CountAll(GlobalStep):
        """Counts."""

        @property
        def inputs(self) -> list[str]:
            return ["squares"]

        @property
        def outputs(self) -> list[str]:
            return ["count"]

        def process(self, inputs: StepInput) -> Iterator[list[dict[str, Any]]]:
            yield [{"count": len(inputs)}]

    with Pipeline("join-global") as pipeline:
        load = LoadDataFromDicts(data=numbers(23), batch_size=5)
        group = GroupColumns(columns=["square"], output_columns=["squares"])
        load >> [Square(name="x"), Square(name="y")] >> group >> CountAll()

    assert rows(pipeline.run()) == [{"count": 23}]
