"""Generators give the rows of lists and datasets, from any row on, and are cheap to send."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import cloudpickle
import datasets
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from distilmq.errors import DistilmqUserError
from distilmq.steps import DataSampler, GeneratorStep, LoadDataFromDicts, make_generator_step
from distilmq.steps.generators.dataset import LoadDataFromDataset


def rows_of(step: GeneratorStep, offset: int = 0) -> list[dict[str, Any]]:
    """The rows that come out, after a look at the marks of the last batch."""
    step.load()
    batches = list(step.process_applying_mappings(offset=offset))
    step.unload()
    assert [last for _, last in batches] == [False] * (len(batches) - 1) + [True]
    assert all(len(rows) == step.batch_size for rows, last in batches if not last)
    return [row for rows, _ in batches for row in rows]


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"number": number, "text": f"row {number}"} for number in range(count)]


def sent(step: GeneratorStep) -> GeneratorStep:
    return cloudpickle.loads(cloudpickle.dumps(step))


@given(st.integers(0, 30), st.integers(1, 9), st.integers(0, 35))
def test_a_list_is_given_from_any_row_on(count: int, size: int, offset: int) -> None:
    step = LoadDataFromDicts(data=numbered(count), batch_size=size)

    assert rows_of(step, offset) == numbered(count)[offset:]


@given(st.integers(0, 30), st.integers(1, 9), st.integers(0, 35))
def test_a_dataset_is_given_from_any_row_on(count: int, size: int, offset: int) -> None:
    dataset = datasets.Dataset.from_dict({"number": list(range(count)), "text": [f"row {n}" for n in range(count)]})
    step = make_generator_step(dataset, batch_size=size)

    assert rows_of(step, offset) == numbered(count)[offset:]


def test_a_list_tells_its_columns_and_its_length() -> None:
    step = LoadDataFromDicts(data=[{"a": 1}, {"b": 2, "a": 3}], output_mappings={"a": "x"})

    assert (step.get_outputs(), step.num_rows()) == ({"x": True, "b": True}, 2)


def test_an_empty_list_is_one_empty_batch() -> None:
    step = LoadDataFromDicts(data=[])

    assert (step.outputs, step.num_rows(), list(step.process())) == ([], 0, [([], True)])


@pytest.mark.parametrize("count", [10, 2500])
def test_rows_stored_in_files_come_back_as_they_were(tmp_path: Path, count: int) -> None:
    rows = [{**row, "when": datetime.date(2026, 1, 1), "more": (1, {"a": b"b"})} for row in numbered(count)]
    step = LoadDataFromDicts(data=rows, output_mappings={"number": "n"})

    stored = sent(step.stored(tmp_path))

    named = [{"n": row["number"], **{key: row[key] for key in ("text", "when", "more")}} for row in rows]
    assert [rows_of(stored, offset) for offset in (0, 7, 2001)] == [named[offset:] for offset in (0, 7, 2001)]
    assert (stored.outputs, stored.num_rows()) == (step.outputs, count)
    assert stored.input_fingerprint() == step.input_fingerprint()


def test_many_rows_do_not_travel_within_the_step(tmp_path: Path) -> None:
    step = LoadDataFromDicts(data=numbered(5000))

    assert len(cloudpickle.dumps(step.stored(tmp_path))) < 10_000
    assert step.data == numbered(5000)


@pytest.mark.parametrize(
    "change",
    [{"number": 1}, {"number": 0, "text": "other"}, {"text": "row 0", "number": 0}, {"number": 0.0, "text": "row 0"}],
)
def test_changed_rows_have_another_fingerprint(change: dict[str, Any]) -> None:
    before = LoadDataFromDicts(data=numbered(1)).input_fingerprint()

    assert LoadDataFromDicts(data=numbered(1)).input_fingerprint() == before
    assert LoadDataFromDicts(data=[change]).input_fingerprint() != before


def test_any_value_has_a_fingerprint() -> None:
    def fingerprint(value: Any) -> str:
        return LoadDataFromDicts(data=[{"value": value}]).input_fingerprint()

    values = [
        2**70,
        2**70 + 1,
        datetime.datetime(2026, 1, 1),
        Image.new("RGB", (2, 2), "red"),
        Image.new("RGB", (2, 2), "blue"),
        {1: "a"},
        {1: datetime.date(2026, 1, 1)},
        "half a character \ud83d",
        "half another \ud83e",
    ]
    assert len({fingerprint(value) for value in values}) == len(values)
    assert [fingerprint(value) for value in values] == [fingerprint(value) for value in values]


def test_a_generator_step_is_made_of_a_list() -> None:
    step = make_generator_step(numbered(3), batch_size=2, output_mappings={"text": "instruction"})

    assert isinstance(step, LoadDataFromDicts)
    assert [row["instruction"] for row in rows_of(step)] == ["row 0", "row 1", "row 2"]


def test_a_generator_step_is_made_of_a_data_frame_without_its_index() -> None:
    frame = pd.DataFrame({"number": [0, 1], "text": ["row 0", "row 1"]}, index=[5, 6])

    assert rows_of(make_generator_step(frame)) == numbered(2)


def test_data_of_another_type_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match=r"Dataset type not allowed: <class 'tuple'>, must be one of"):
        make_generator_step((1, 2))  # type: ignore[arg-type]


def test_features_of_a_dataset_are_kept_under_their_names_outside() -> None:
    features = datasets.Features({"label": datasets.ClassLabel(names=["no", "yes"]), "n": datasets.Value("int8")})
    dataset = datasets.Dataset.from_dict({"label": [0, 1], "n": [1, 2]}, features=features)

    step = make_generator_step(dataset, output_mappings={"label": "kind"})

    assert step.features() == datasets.Features({"kind": features["label"], "n": features["n"]})


@pytest.mark.parametrize("kind", ["in memory", "mapped", "picked", "picked from mapped"])
def test_a_dataset_is_cheap_to_send(tmp_path: Path, kind: str) -> None:
    whole = datasets.Dataset.from_list(numbered(20_000))
    if "mapped" in kind:
        whole.save_to_disk(str(tmp_path / "saved"))
        whole = datasets.load_from_disk(str(tmp_path / "saved"))
    dataset = whole.select(range(19_999, 0, -2)) if "picked" in kind else whole
    step = make_generator_step(dataset, batch_size=1000)

    pickled = cloudpickle.dumps(step.stored(tmp_path / "inputs"))
    received = cloudpickle.loads(pickled)

    assert len(pickled) < 20_000
    assert rows_of(received, 5000) == dataset.to_list()[5000:]
    assert (received.num_rows(), received.outputs, received.features()) == (
        len(dataset),
        ["number", "text"],
        dataset.features,
    )


def test_a_stored_dataset_keeps_images_and_its_format(tmp_path: Path) -> None:
    images = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    dataset = datasets.Dataset.from_dict({"image": images, "vector": [[1.0, 2.0], [3.0, 4.0]]}).with_format("numpy")
    step = make_generator_step(dataset)

    rows, stored = rows_of(step), rows_of(sent(step.stored(tmp_path)))

    assert [type(value) for value in stored[0].values()] == [type(value) for value in rows[0].values()]
    assert all((stored[i][key] == rows[i][key]).all() for i in (0, 1) for key in ("image", "vector"))


@pytest.mark.parametrize("make", [lambda rows: datasets.Dataset.from_list(rows), lambda rows: pd.DataFrame(rows)])
def test_an_empty_dataset_is_one_empty_batch(tmp_path: Path, make: Any) -> None:
    step = make_generator_step(make([]))

    assert (
        rows_of(step)
        == rows_of(sent(step.stored(tmp_path)))
        == rows_of(LoadDataFromDataset.from_dict(step.dump()))
        == []
    )


def test_storing_a_dataset_twice_writes_it_once(tmp_path: Path) -> None:
    step = make_generator_step(datasets.Dataset.from_list(numbered(3)))

    step.stored(tmp_path)
    written = os.stat(tmp_path / "dataset.arrow").st_mtime_ns
    step.stored(tmp_path)

    assert os.stat(tmp_path / "dataset.arrow").st_mtime_ns == written


def test_the_fingerprint_of_a_dataset_is_that_of_its_rows(tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_list(numbered(2500))
    dataset.save_to_disk(str(tmp_path / "saved"))
    same = [
        dataset,
        datasets.load_from_disk(str(tmp_path / "saved")),
        datasets.Dataset.from_list(numbered(3000)).select(range(2500)),
        datasets.concatenate_datasets([dataset.select(range(1200)), dataset.select(range(1200, 2500))]),
    ]

    fingerprints = {make_generator_step(each).input_fingerprint() for each in same}

    assert len(fingerprints) == 1
    assert make_generator_step(dataset.select(range(2499))).input_fingerprint() not in fingerprints


def test_a_dataset_is_part_of_the_dump() -> None:
    features = datasets.Features({"label": datasets.ClassLabel(names=["no", "yes"]), "text": datasets.Value("string")})
    dataset = datasets.Dataset.from_dict({"label": [1], "text": ["a"]}, features=features)
    step = make_generator_step(dataset, batch_size=7)

    loaded = LoadDataFromDataset.from_dict(step.dump())

    assert (rows_of(loaded), loaded.features(), loaded.batch_size) == ([{"label": 1, "text": "a"}], features, 7)
    assert loaded.input_fingerprint() == step.input_fingerprint()


def test_samples_are_drawn_without_drawing_a_row_twice() -> None:
    step = DataSampler(data=numbered(5), size=3, samples=20, batch_size=6)

    rows = rows_of(step)

    assert (len(rows), step.num_rows(), step.outputs) == (20, 20, ["number", "text"])
    assert all(len(set(row["number"])) == 3 for row in rows)
    assert all(row["text"] == [f"row {number}" for number in row["number"]] for row in rows)
    assert len({tuple(row["number"]) for row in rows}) > 5


def test_more_than_there_are_is_drawn_with_repeats() -> None:
    assert len(rows_of(DataSampler(data=numbered(2), size=5, samples=1))[0]["number"]) == 5


def test_samples_go_on_where_they_stopped() -> None:
    step = DataSampler(data=numbered(50), size=3, samples=20)

    assert rows_of(step, 8) == rows_of(step)[8:]


def test_nothing_can_be_drawn_from_nothing() -> None:
    assert rows_of(DataSampler(data=[])) == []


def test_a_dump_without_rows_says_so_where_it_is_loaded() -> None:
    step = LoadDataFromDicts(name="load", data=[{"n": n} for n in range(1500)])

    dump = step.dump(with_rows=False)

    assert dump["data"] == {"rows_left_out": 1500}
    with pytest.raises(ValueError, match="The 1,500 rows of this step were too large for the dump"):
        LoadDataFromDicts.from_dict(dump)
