"""Rows from files on disk, and from what `save_to_disk` wrote."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import cloudpickle
import datasets
import pytest

from distilmq.errors import DistilmqUserError
from distilmq.steps import LoadDataFromDisk, LoadDataFromFileSystem
from distilmq.steps.generators.dataset_loader import DatasetLoader

ROWS = [{"n": number, "text": f"row {number}"} for number in range(7)]


@pytest.fixture(autouse=True)
def own_datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


def rows_of(step: DatasetLoader, offset: int = 0) -> list[dict[str, Any]]:
    step.load()
    batches = list(step.process_applying_mappings(offset=offset))
    step.unload()
    assert [last for _, last in batches] == [False] * (len(batches) - 1) + [True]
    return [row for rows, _ in batches for row in rows]


def write_lines(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet", "rows.tsv", "rows.csv.gz"])
def test_a_file_of_a_known_suffix_is_read(folder: Path, name: str) -> None:
    dataset = datasets.Dataset.from_list(ROWS)
    path = folder / name
    if name == "rows.parquet":
        dataset.to_parquet(str(path))
    elif "json" in name:
        write_lines(path)
    else:
        separator = "\t" if "tsv" in name else ","
        text = "\n".join([separator.join(ROWS[0]), *(separator.join(map(str, row.values())) for row in ROWS)])
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    step = LoadDataFromFileSystem(data_files=str(path), batch_size=3)

    assert step.outputs == ["n", "text"]
    assert rows_of(step) == ROWS


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("offset", [0, 1, 3, 4, 6, 7, 9])
def test_a_file_is_given_from_any_row_on(folder: Path, streaming: bool, offset: int) -> None:
    step = LoadDataFromFileSystem(data_files=write_lines(folder / "rows.jsonl"), streaming=streaming, batch_size=3)

    assert rows_of(step, offset) == ROWS[offset:]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(("offset", "given"), [(0, 5), (3, 2), (5, 0)])
def test_no_more_examples_are_given_than_asked_for(folder: Path, streaming: bool, offset: int, given: int) -> None:
    step = LoadDataFromFileSystem(
        data_files=write_lines(folder / "rows.jsonl"), streaming=streaming, num_examples=5, batch_size=2
    )

    assert rows_of(step, offset) == ROWS[offset : offset + given]


def test_a_folder_is_all_its_files_of_the_one_type(folder: Path) -> None:
    write_lines(folder / "1.jsonl", ROWS[:3])
    (folder / "deeper").mkdir()
    write_lines(folder / "deeper" / "2.jsonl", ROWS[3:])
    (folder / "README.md").write_text("about")
    (folder / ".hidden.csv").write_text("a,b")

    assert rows_of(LoadDataFromFileSystem(data_files=folder)) == ROWS


def test_a_folder_of_several_types_needs_the_type(folder: Path) -> None:
    write_lines(folder / "rows.jsonl")
    (folder / "other.csv").write_text("a,b\n1,2\n")

    with pytest.raises(DistilmqUserError, match=r"holds files of several types, \['csv', 'json'\]: please give"):
        rows_of(LoadDataFromFileSystem(data_files=folder))
    assert rows_of(LoadDataFromFileSystem(data_files=folder, filetype="csv")) == [{"a": 1, "b": 2}]


def test_a_folder_without_data_is_refused(folder: Path) -> None:
    with pytest.raises(DistilmqUserError, match="holds no file of the types"):
        rows_of(LoadDataFromFileSystem(data_files=folder))


def test_a_pattern_names_several_files(folder: Path) -> None:
    write_lines(folder / "rows-1.jsonl", ROWS[:3])
    write_lines(folder / "rows-2.jsonl", ROWS[3:])
    write_lines(folder / "other.jsonl")

    assert rows_of(LoadDataFromFileSystem(data_files=str(folder / "rows-*.jsonl"))) == ROWS


def test_a_list_of_files_is_one_dataset_in_that_order(folder: Path) -> None:
    files = [write_lines(folder / "b.jsonl", ROWS[:3]), write_lines(folder / "a.jsonl", ROWS[3:])]

    assert rows_of(LoadDataFromFileSystem(data_files=[str(file) for file in files])) == ROWS


def test_a_split_may_have_any_name_and_be_cut(folder: Path) -> None:
    path = write_lines(folder / "rows.jsonl")

    assert rows_of(LoadDataFromFileSystem(data_files=path, split="test")) == ROWS
    assert rows_of(LoadDataFromFileSystem(data_files=path, split="test[2:4]")) == ROWS[2:4]
    assert rows_of(LoadDataFromFileSystem(data_files={"test": str(path)}, split="test")) == ROWS


@pytest.mark.parametrize("split", ["train[2:4]", "train[:50%]", "train+test", "all"])
def test_the_columns_of_a_part_of_the_splits_are_known_before(folder: Path, split: str) -> None:
    files = {"train": str(write_lines(folder / "1.jsonl")), "test": str(write_lines(folder / "2.jsonl"))}

    assert LoadDataFromFileSystem(data_files=files, split=split).outputs == ["n", "text"]


def test_a_part_of_a_split_that_is_to_be_streamed_is_refused_before_the_run(folder: Path) -> None:
    step = LoadDataFromFileSystem(
        name="load", data_files=write_lines(folder / "rows.jsonl"), split="train[:4]", streaming=True
    )

    with pytest.raises(DistilmqUserError, match=r"Step 'load' cannot stream 'train\[:4\]'.*Use `num_examples`"):
        _ = step.outputs


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(("name", "text"), [("none.jsonl", ""), ("none.csv", "n,text\n")])
def test_a_file_without_rows_gives_none(folder: Path, streaming: bool, name: str, text: str) -> None:
    (folder / name).write_text(text)
    step = LoadDataFromFileSystem(data_files=folder / name, streaming=streaming)

    assert (step.num_rows(), rows_of(step)) == (0, [])


@pytest.mark.parametrize("streaming", [False, True])
def test_a_name_that_reads_as_a_pattern_is_the_file_of_that_name(folder: Path, streaming: bool) -> None:
    write_lines(folder / "1.jsonl", ROWS[:1])

    assert rows_of(LoadDataFromFileSystem(data_files=write_lines(folder / "[1].jsonl"), streaming=streaming)) == ROWS


@pytest.mark.parametrize("filetype", ["json", "jsonl", ".jsonl", "JSONL"])
def test_a_type_may_be_named_by_its_suffix(folder: Path, filetype: str) -> None:
    assert rows_of(LoadDataFromFileSystem(data_files=write_lines(folder / "rows.data"), filetype=filetype)) == ROWS


def test_tabs_separate_files_of_the_type_tsv(folder: Path) -> None:
    (folder / "rows.data").write_text("a\tb\n1\t2\n")

    assert rows_of(LoadDataFromFileSystem(data_files=folder / "rows.data", filetype="tsv")) == [{"a": 1, "b": 2}]


def test_a_type_that_cannot_be_read_is_not_looked_for_on_the_hub(folder: Path) -> None:
    with pytest.raises(DistilmqUserError, match="Files of the `filetype` 'jsn' cannot be read: give one of"):
        rows_of(LoadDataFromFileSystem(data_files=write_lines(folder / "rows.data"), filetype="jsn"))


def test_a_suffix_that_tells_nothing_needs_the_type(folder: Path) -> None:
    path = write_lines(folder / "rows.data")

    with pytest.raises(DistilmqUserError, match=r"is not clear from.*please give `filetype`"):
        rows_of(LoadDataFromFileSystem(data_files=path))
    assert rows_of(LoadDataFromFileSystem(data_files=path, filetype="json")) == ROWS


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(DistilmqUserError, match=r"nowhere\.csv' does not exist"):
        rows_of(LoadDataFromFileSystem(data_files=folder / "nowhere.csv"))


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(DistilmqUserError, match="Step 'load' needs `data_files`"):
        LoadDataFromFileSystem(name="load").load()


def test_changed_files_have_another_fingerprint(folder: Path) -> None:
    path = write_lines(folder / "rows.jsonl")
    step = LoadDataFromFileSystem(data_files=str(folder / "*.jsonl"))
    before = step.input_fingerprint()

    assert step.input_fingerprint() == before
    os.utime(path, (1, 1))
    touched = step.input_fingerprint()
    write_lines(folder / "more.jsonl")
    assert len({before, touched, step.input_fingerprint()}) == 3


@pytest.mark.parametrize("name", ["rows.jsonl", "*.jsonl", ""])
def test_changed_files_of_other_file_systems_have_another_fingerprint(folder: Path, name: str) -> None:
    path = write_lines(folder / "rows.jsonl")
    step = LoadDataFromFileSystem(data_files=f"file://{folder}/{name}".rstrip("/"))
    before = step.input_fingerprint()

    assert step.input_fingerprint() == before
    write_lines(path, ROWS[:3])
    os.utime(path, (1, 1))
    assert step.input_fingerprint() != before


def test_a_changed_dataset_on_another_file_system_has_another_fingerprint(folder: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(folder / "saved"))
    step = LoadDataFromDisk(dataset_path=f"file://{folder}/saved")
    before = step.input_fingerprint()

    datasets.Dataset.from_list(ROWS[:3]).save_to_disk(str(folder / "saved"))

    assert step.input_fingerprint() != before


def test_a_file_system_that_tells_nothing_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert "remote" not in LoadDataFromFileSystem(data_files="memory://nowhere.csv").input_fingerprint()
    assert "The state of 'memory://nowhere.csv' is not known, changes of it go unnoticed" in caplog.text


def test_files_are_not_opened_by_pickling(folder: Path) -> None:
    step = LoadDataFromFileSystem(data_files=write_lines(folder / "rows.jsonl"), output_mappings={"text": "prompt"})
    step.load()

    received = cloudpickle.loads(cloudpickle.dumps(step))

    assert len(cloudpickle.dumps(step)) < 2000
    assert [row["prompt"] for row in rows_of(received)] == [row["text"] for row in ROWS]
    assert list(received.features()) == ["n", "prompt"]


def test_a_loader_of_files_survives_a_dump(folder: Path) -> None:
    step = LoadDataFromFileSystem(data_files=write_lines(folder / "rows.jsonl"), num_examples=2)

    assert rows_of(LoadDataFromFileSystem.from_dict(step.dump())) == ROWS[:2]


def test_a_saved_dataset_is_given(folder: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(folder / "saved"))
    step = LoadDataFromDisk(dataset_path=folder / "saved", num_examples=6, batch_size=4)

    assert (step.outputs, step.num_rows(), rows_of(step, 4)) == (["n", "text"], 6, ROWS[4:6])


def test_the_only_split_needs_no_name(folder: Path) -> None:
    datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)).save_to_disk(str(folder / "saved"))

    assert rows_of(LoadDataFromDisk(dataset_path=str(folder / "saved"))) == ROWS


def test_one_of_several_splits_has_to_be_chosen(folder: Path) -> None:
    splits = {"train": datasets.Dataset.from_list(ROWS[:4]), "test": datasets.Dataset.from_list(ROWS[4:])}
    datasets.DatasetDict(splits).save_to_disk(str(folder / "saved"))

    with pytest.raises(DistilmqUserError, match=r"has the splits \['train', 'test'\]: give one of them as `split`"):
        rows_of(LoadDataFromDisk(dataset_path=folder / "saved"))
    with pytest.raises(DistilmqUserError, match="'dev' is none of them"):
        rows_of(LoadDataFromDisk(dataset_path=folder / "saved", split="dev"))
    assert rows_of(LoadDataFromDisk(dataset_path=folder / "saved", split="test")) == ROWS[4:]


def test_a_leaf_of_a_saved_distiset_is_given(folder: Path) -> None:
    leaf = datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS))
    leaf.save_to_disk(str(folder / "distiset" / "leaf_step"))

    step = LoadDataFromDisk(dataset_path=folder / "distiset", is_distiset=True, config="leaf_step")

    assert rows_of(step) == ROWS
    with pytest.raises(DistilmqUserError, match=r"has no configuration 'default', but \['leaf_step'\]"):
        rows_of(LoadDataFromDisk(dataset_path=folder / "distiset", is_distiset=True))
