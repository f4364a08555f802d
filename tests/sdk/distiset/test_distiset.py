"""A Distiset saved, loaded, split and shown."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from PIL import Image

from distilmq.distiset import Distiset, build_distiset
from distilmq.errors import DistilmqUserError
from tests.sdk.distiset.rows import payloads, two_leaves


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_was_saved_loads_as_it_was(tmp_path: Path) -> None:
    distiset = two_leaves(tmp_path / "run")

    distiset.save_to_disk(tmp_path / "saved")
    loaded = Distiset.load_from_disk(tmp_path / "saved")

    assert {leaf: list(splits["train"]) for leaf, splits in loaded.items()} == {
        leaf: list(splits["train"]) for leaf, splits in distiset.items()
    }
    assert loaded.pipeline_path == tmp_path / "saved/distiset_configs/pipeline.yaml"
    assert loaded.log_filename_path == tmp_path / "saved/distiset_configs/pipeline.log"
    assert loaded.artifacts_path == tmp_path / "saved/artifacts"
    assert (tmp_path / "saved/artifacts/left/notes.txt").read_text() == "kept"
    assert "# saved" in (tmp_path / "saved/distiset_configs/README.md").read_text()


def test_what_is_not_wanted_is_not_saved(tmp_path: Path) -> None:
    distiset = build_distiset({"leaf": payloads([{"a": 1}])}, directory=tmp_path / "run")

    distiset.save_to_disk(str(tmp_path / "saved"), save_card=False, save_pipeline_config=False, save_pipeline_log=False)

    assert files_below(tmp_path / "saved") == [
        "default/dataset_dict.json",
        "default/train/data-00000-of-00001.arrow",
        "default/train/dataset_info.json",
        "default/train/state.json",
    ]
    assert Distiset.load_from_disk(tmp_path / "saved").pipeline_path is None


def test_files_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    configs = tmp_path / "saved" / "distiset_configs"
    configs.mkdir(parents=True)
    (configs / "README.md").write_text("by hand")

    two_leaves(tmp_path / "run").save_to_disk(tmp_path / "saved")

    assert (configs / "README.md").read_text() == "by hand"
    assert (configs / "pipeline.yaml").read_text().startswith("pipeline:")


def test_a_number_of_files_can_be_asked_for(tmp_path: Path) -> None:
    two_leaves(tmp_path / "run").save_to_disk(tmp_path / "saved", num_shards=3)

    assert len(list((tmp_path / "saved/left/train").glob("*.arrow"))) == 3
    assert Distiset.load_from_disk(tmp_path / "saved", keep_in_memory=True)["right"]["train"]["n"][:] == list(
        range(0, 20, 2)
    )


def test_it_is_saved_to_any_filesystem(tmp_path: Path) -> None:
    two_leaves(tmp_path / "run").save_to_disk("memory://made/today")
    loaded = Distiset.load_from_disk("memory://made/today", download_dir=tmp_path / "copy")

    assert loaded["left"]["train"]["n"][:] == list(range(10))
    assert loaded.pipeline_path == tmp_path / "copy/distiset_configs/pipeline.yaml"
    assert loaded.artifacts_path is not None
    assert (loaded.artifacts_path / "left/notes.txt").read_text() == "kept"


def test_a_folder_without_datasets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match="There is no Distiset in"):
        Distiset.load_from_disk(tmp_path)


def test_the_result_of_a_run_is_split_in_place(tmp_path: Path) -> None:
    distiset = two_leaves(tmp_path / "run")

    same = distiset.train_test_split(0.8, shuffle=False)

    assert same is distiset
    assert distiset["left"]["train"]["n"][:] == list(range(8))
    assert distiset["left"]["test"]["n"][:] == [8, 9]
    assert distiset["right"]["test"]["n"][:] == [16, 18]


def test_plain_datasets_are_split_too() -> None:
    distiset = Distiset(leaf=datasets.Dataset.from_dict({"n": list(range(10))}))

    distiset.train_test_split(train_size=0.5, seed=7)

    assert sorted(distiset["leaf"]["train"]["n"][:] + distiset["leaf"]["test"]["n"][:]) == list(range(10))
    assert distiset["leaf"]["train"]["n"][:] != list(range(5))


def test_one_seed_splits_alike(tmp_path: Path) -> None:
    one = two_leaves(tmp_path / "one").train_test_split(0.5, seed=3)
    other = two_leaves(tmp_path / "other").train_test_split(0.5, seed=3)

    assert one["left"]["train"]["n"][:] == other["left"]["train"]["n"][:]


def test_splitting_again_puts_the_rows_together_first(tmp_path: Path) -> None:
    distiset = two_leaves(tmp_path / "run").train_test_split(0.5).train_test_split(0.9, shuffle=False)

    assert {split: len(rows) for split, rows in distiset["left"].items()} == {"train": 9, "test": 1}


def test_a_leaf_without_rows_splits_into_two_without_rows(tmp_path: Path) -> None:
    distiset = build_distiset({"leaf": []}, directory=tmp_path, columns={"leaf": ["a"]}).train_test_split(0.5)

    assert {split: len(rows) for split, rows in distiset["default"].items()} == {"train": 0, "test": 0}


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1])
def test_a_share_outside_of_0_and_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share between 0 and 1"):
        Distiset().train_test_split(share)


def test_base64_columns_become_images(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(buffer, format="PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    rows = [{"image": text, "n": 1}, {"image": None, "n": 2}, {"image": f"data:image/png;base64,{text}", "n": 3}]
    distiset = build_distiset({"a": payloads(rows), "b": payloads([{"n": 1}])}, directory=tmp_path)

    assert distiset.transform_columns_to_image("image") is distiset

    made = distiset["a"]["train"]
    assert made.features["image"] == datasets.Image()
    assert [image and image.size for image in made["image"][:]] == [(4, 3), None, (4, 3)]
    assert distiset["b"]["train"].column_names == ["n"]


CITED = '''"""Steps with citations, for a test."""


class Paper:
    """Does what a paper says.

    Citations:
        ```
        @misc{second2024,
            title={Second},
        }
        ```

        ```
        @misc{first2023,
            title={First},
        }
        ```
    """
'''


def test_citations_come_from_the_docstrings_of_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cited_steps.py").write_text(CITED)
    monkeypatch.syspath_prepend(tmp_path)
    __import__("cited_steps")
    pipeline = tmp_path / "pipeline.yaml"
    info = "type_info: {module: cited_steps, name: Paper}"
    pipeline.write_text(f"pipeline:\n  name: p\n  steps:\n  - step: {{{info}}}\n  - step: {{{info}}}\n")

    assert Distiset(pipeline_path=pipeline).citations == [
        "@misc{first2023,\n    title={First},\n}",
        "@misc{second2024,\n    title={Second},\n}",
    ]


def test_citations_import_no_module_of_a_saved_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "never_imported.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text("pipeline: {steps: [{step: {type_info: {module: never_imported, name: Paper}}}]}\n")

    assert Distiset(pipeline_path=pipeline).citations == []


def test_without_a_token_pushing_says_what_to_do(tmp_path: Path) -> None:
    script = "from distilmq.distiset import Distiset\nDistiset().push_to_hub('me/rows')\n"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}

    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "To use `Distiset` an API key must be provided via `token`" in done.stderr


def test_a_script_that_is_none_is_not_pushed() -> None:
    script = (
        "from distilmq.distiset import Distiset\n"
        "try:\n    Distiset().push_to_hub('me/rows', token='t', include_script=True)\n"
        "except ValueError as error:\n    print(error)\n"
    )

    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=True)

    assert "include_script=True, but" in done.stdout


def test_importing_it_loads_no_datasets() -> None:
    script = "import sys, distilmq.distiset\nprint('datasets' in sys.modules or 'huggingface_hub' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
