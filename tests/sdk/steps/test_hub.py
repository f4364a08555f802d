"""Rows from the Hub and back to it, over HTTP. The libraries read where it is when they start: in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.hub import MINI, Hub, running_hub


@pytest.fixture
def hub(tmp_path: Path) -> Any:
    with running_hub(tmp_path / "hub") as running:
        yield running


def run(hub: Hub, script: str) -> Any:
    """What a script prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **hub.environment}, capture_output=True, timeout=100
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout)


LOAD = """
import json
from distilmq.steps import LoadDataFromHub
step = LoadDataFromHub(
    repo_id={repo!r}, split="test", output_mappings={mappings!r}, streaming={streaming}, batch_size=2
)
told = [list(step.get_outputs()), step.num_rows(), step.input_fingerprint()]
features = list(step.features() or [])
step.load()
batches = [(rows, last) for rows, last in step.process_applying_mappings(offset=1)]
print(json.dumps([told, features, batches]))
"""


@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_of_the_hub_is_given_from_any_row_on(hub: Hub, streaming: bool) -> None:
    commit = hub.add_mini()

    told, features, batches = run(hub, LOAD.format(repo=MINI, mappings={"prompt": "instruction"}, streaming=streaming))

    assert told == [["instruction", "completion", "meta"], 3, f"commit {commit}"]
    assert features == ["instruction", "completion", "meta"]
    assert [(len(rows), last) for rows, last in batches] == [(2, True)]
    assert [row["instruction"] for row in batches[0][0]] == ["What is 2 + 2?", "What is 3 + 3?"]


def test_columns_of_a_described_dataset_are_known_without_its_data(hub: Hub) -> None:
    hub.add_mini()

    columns = run(
        hub,
        f"import json; from distilmq.steps import LoadDataFromHub\n"
        f"print(json.dumps(LoadDataFromHub(repo_id={MINI!r}, split='test').outputs))",
    )

    assert columns == ["prompt", "completion", "meta"]
    assert not [request.path for request in hub.requests if "parquet" in request.path and request.method == "GET"]


def test_columns_of_a_dataset_without_description_are_found(hub: Hub) -> None:
    hub.add_files("somebody/lines", {"test.jsonl": b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'})

    told, features, batches = run(hub, LOAD.format(repo="somebody/lines", mappings={}, streaming=False))

    assert (told[0], features) == (["a", "b"], ["a", "b"])
    assert batches == [[[{"a": 2, "b": "y"}], True]]


def test_a_local_folder_stands_in_for_the_hub(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "test.csv").write_text("a,b\n1,x\n2,y\n")

    told, _, batches = run(hub, LOAD.format(repo=str(folder), mappings={}, streaming=False))

    assert told[2].startswith("files ")
    assert batches == [[[{"a": 2, "b": "y"}], True]]


def test_rows_are_pushed_and_passed_on(hub: Hub) -> None:
    rows = [{"a": 1, "meta": {"x": 1}}, {"a": None, "meta": {"y": "z"}, "mixed": 1}, {"a": 3, "mixed": "one"}]

    passed, back = run(
        hub,
        f"""
import json, datasets
from distilmq.steps import PushToHub
rows = {rows!r}
step = PushToHub(repo_id="somebody/pushed", split="test")
step.load()
passed = next(step.process(rows))
print(json.dumps([passed, datasets.load_dataset("somebody/pushed", split="test").to_list()]))
""",
    )

    assert passed == rows
    assert back == [
        {"a": 1, "meta": {"x": 1, "y": None}, "mixed": None},
        {"a": None, "meta": {"x": None, "y": "z"}, "mixed": "1"},
        {"a": 3, "meta": None, "mixed": '"one"'},
    ]


def test_without_the_hub_the_commit_loaded_last_counts(hub: Hub) -> None:
    commit = hub.add_mini()
    script = f"""
import json
from distilmq.steps import LoadDataFromHub
step = LoadDataFromHub(repo_id={MINI!r}, split="test")
if LOAD:
    step.load()
print(json.dumps(step.input_fingerprint()))
"""

    online = run(hub, script.replace("LOAD", "True"))
    asked = len(hub.requests)
    offline = run(hub, "import os; os.environ['HF_HUB_OFFLINE'] = '1'" + script.replace("LOAD", "False"))

    assert online == offline == f"commit {commit}"
    assert len(hub.requests) == asked
