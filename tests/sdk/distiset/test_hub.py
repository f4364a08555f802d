"""A Distiset pushed to a Hub over HTTP and loaded back from it, by the libraries that users have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.hub import MINI, TOKEN, Hub, running_hub

ROOT = Path(__file__).parents[3]

BEGIN = """
import datetime as dt, json, sys
from pathlib import Path
import numpy as np
from PIL import Image
from datasets import load_dataset
from distilmq.distiset import Distiset, build_distiset
from distilmq.protocol.rows import encode_rows
from tests.sdk.distiset.rows import payloads, two_leaves
here = Path(sys.argv[1])
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


def run(hub: Hub, body: str, directory: Path) -> Any:
    """Runs a script against the Hub; it prints one line of JSON last."""
    script = directory / "script.py"
    script.write_text(BEGIN + body)
    done = subprocess.run(
        [sys.executable, str(script), str(directory)],
        env={**os.environ, **hub.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def header(readme: bytes) -> dict[str, Any]:
    return yaml.safe_load(readme.decode().split("---\n")[1])


def test_what_was_pushed_is_loaded_leaf_by_leaf(hub: Hub, tmp_path: Path) -> None:
    loaded = run(
        hub,
        """
two_leaves(here).push_to_hub("tester/numbers")
print(json.dumps([list(load_dataset("tester/numbers", leaf, split="train")) for leaf in ("left", "right")]))
""",
        tmp_path,
    )

    assert loaded == [[{"n": n, "text": f"row {n}"} for n in range(10)], [{"n": 2 * n} for n in range(10)]]
    assert hub.files("tester/numbers") == [
        ".gitattributes",
        "README.md",
        "artifacts/left/notes.txt",
        "left/train-00000-of-00001.parquet",
        "pipeline.log",
        "pipeline.yaml",
        "right/train-00000-of-00001.parquet",
    ]
    assert hub.read("tester/numbers", "artifacts/left/notes.txt") == b"kept"


def test_the_card_names_configs_and_tells_how_it_was_made(hub: Hub, tmp_path: Path) -> None:
    run(hub, "two_leaves(here).push_to_hub('tester/numbers')\nprint(0)", tmp_path)

    readme = hub.read("tester/numbers", "README.md")
    assert [config["config_name"] for config in header(readme)["configs"]] == ["left", "right"]
    assert header(readme)["tags"] == ["synthetic", "distilmq"]
    assert header(readme)["size_categories"] == "n<1K"
    assert "# numbers\n\nThe rows of this dataset were made by the pipeline `doubling`" in readme.decode()
    assert "> Doubles numbers." in readme.decode()
    assert f"distilmq pipeline run --config {hub.url}/datasets/tester/numbers/raw/main/pipeline.yaml" in readme.decode()
    assert 'load_dataset("tester/numbers", "left")' in readme.decode()


def test_a_single_leaf_loads_without_a_name(hub: Hub, tmp_path: Path) -> None:
    loaded = run(
        hub,
        """
rows = [{"image": Image.new("RGB", (3, 2)), "array": np.eye(2), "nested": [{"a": {}}], "at": dt.datetime(2026, 1, 1)}]
build_distiset({"leaf": payloads(rows)}, directory=here).push_to_hub("tester/one")
row = load_dataset("tester/one", split="train")[0]
print(json.dumps([row["image"].size, row["array"], row["nested"], row["at"].isoformat()]))
""",
        tmp_path,
    )

    assert loaded == [[3, 2], [[1, 0], [0, 1]], [{"a": {}}], "2026-01-01T00:00:00"]
    assert 'load_dataset("tester/one")' in hub.read("tester/one", "README.md").decode()


def test_a_bare_name_goes_to_the_namespace_of_the_token(hub: Hub, tmp_path: Path) -> None:
    run(hub, "two_leaves(here).push_to_hub('numbers', private=True)\nprint(0)", tmp_path)

    assert hub.store.repo("dataset", "tester/numbers", allowed=True).private
    assert "README.md" in hub.files("tester/numbers")


def test_what_the_card_said_before_is_kept(hub: Hub, tmp_path: Path) -> None:
    hub.add_files("tester/numbers", {"README.md": b"---\nlicense: mit\ntags:\n- mine\n---\n\n# Mine\n"})

    run(hub, "two_leaves(here).push_to_hub('tester/numbers')\nprint(0)", tmp_path)

    kept = header(hub.read("tester/numbers", "README.md"))
    assert kept["license"] == "mit"
    assert kept["tags"] == ["mine", "synthetic", "distilmq"]


def test_no_card_is_written_when_none_is_wanted(hub: Hub, tmp_path: Path) -> None:
    run(hub, "two_leaves(here).push_to_hub('tester/numbers', generate_card=False)\nprint(0)", tmp_path)

    assert "doubling" not in hub.read("tester/numbers", "README.md").decode()
    assert "pipeline.yaml" in hub.files("tester/numbers")


def test_the_running_script_goes_along(hub: Hub, tmp_path: Path) -> None:
    run(hub, "two_leaves(here).push_to_hub('tester/numbers', include_script=True)\nprint(0)", tmp_path)

    assert hub.read("tester/numbers", "script.py") == (tmp_path / "script.py").read_bytes()
    assert "distilmq pipeline run --script" in hub.read("tester/numbers", "README.md").decode()


def test_a_pull_request_holds_all_of_it(hub: Hub, tmp_path: Path) -> None:
    run(
        hub,
        """
two_leaves(here).push_to_hub("tester/numbers", create_pr=True, num_shards=2, commit_message="More numbers")
print(0)
""",
        tmp_path,
    )

    assert hub.files("tester/numbers") == [".gitattributes"]
    proposed = hub.files("tester/numbers", revision="refs/pr/1")
    assert [path for path in proposed if path.endswith(".parquet")] == [
        f"{leaf}/train-0000{number}-of-00002.parquet" for leaf in ("left", "right") for number in range(2)
    ]
    assert {"README.md", "pipeline.yaml"} < set(proposed)


def test_pushing_again_replaces_the_rows(hub: Hub, tmp_path: Path) -> None:
    count = run(
        hub,
        """
two_leaves(here / "one", rows=5).push_to_hub("tester/numbers", num_shards=3)
two_leaves(here / "two", rows=4).push_to_hub("tester/numbers")
print(json.dumps(len(load_dataset("tester/numbers", "left", split="train"))))
""",
        tmp_path,
    )

    assert count == 4
    assert [path for path in hub.files("tester/numbers") if path.startswith("left")] == [
        "left/train-00000-of-00001.parquet"
    ]


def test_splits_are_pushed_as_splits(hub: Hub, tmp_path: Path) -> None:
    sizes = run(
        hub,
        """
two_leaves(here).train_test_split(0.7).push_to_hub("tester/numbers")
print(json.dumps({name: len(split) for name, split in load_dataset("tester/numbers", "right").items()}))
""",
        tmp_path,
    )

    assert sizes == {"train": 7, "test": 3}


def test_another_token_is_refused(hub: Hub, tmp_path: Path) -> None:
    said = run(
        hub,
        """
try:
    two_leaves(here).push_to_hub("tester/numbers", token="hf_wrong")
except Exception as error:
    print(json.dumps(type(error).__name__))
""",
        tmp_path,
    )

    assert "Error" in said
    assert {request.token for request in hub.requests if request.status < 300} <= {TOKEN, None}


def test_the_dataset_of_the_guide_loads(hub: Hub, tmp_path: Path) -> None:
    hub.add_mini()

    loaded = run(
        hub,
        f"""
from datasets import get_dataset_infos
rows = load_dataset("{MINI}", split="test")
streamed = list(load_dataset("{MINI}", split="test", streaming=True))
info = get_dataset_infos("{MINI}")["default"]
print(json.dumps([rows.column_names, streamed == list(rows), info.splits["test"].num_examples]))
""",
        tmp_path,
    )

    assert loaded == [["prompt", "completion", "meta"], True, 3]


def test_a_folder_becomes_a_repository(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "train.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    hub.add_folder("somebody/lines", folder)

    assert run(hub, "print(json.dumps(load_dataset('somebody/lines', split='train')['a'][:]))", tmp_path) == [1, 2]
