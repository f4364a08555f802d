"""`LoadDataFromHub` over HTTP, against a Hub of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.hub import MINI, Hub, running_hub

BEGIN = """
import json
from distilmq.steps import LoadDataFromHub

def rows_of(step, offset=0):
    step.load()
    batches = list(step.process_applying_mappings(offset=offset))
    step.unload()
    assert [last for _, last in batches] == [False] * (len(batches) - 1) + [True]
    return [row for rows, _ in batches for row in rows]
"""
END = """
import os, sys
sys.stdout.flush()
os._exit(0)
"""
"""As step processes leave: pyarrow may abort a process that ends in the middle of a stream (apache/arrow#45214)."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with running_hub(tmp_path / "hub") as hub:
        hub.add_mini()
        yield hub


def run(hub: Hub, body: str) -> Any:
    """Runs a script that finds the Hub in its environment; it prints one line of JSON last."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + body + END],
        env={**os.environ, **hub.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("streaming", [False, True])
def test_it_gives_the_rows_of_the_split_from_any_row_on(hub: Hub, streaming: bool) -> None:
    all_rows, rest, some = run(
        hub,
        f"""
options = dict(name="load", repo_id="{MINI}", split="test", batch_size=2, streaming={streaming})
step = LoadDataFromHub(**options, output_mappings={{"prompt": "instruction"}})
fewer = LoadDataFromHub(**options, num_examples=2)
print(json.dumps([rows_of(step), rows_of(step, offset=2), rows_of(fewer)]))
""",
    )

    assert [row["instruction"] for row in all_rows] == ["What is 1 + 1?", "What is 2 + 2?", "What is 3 + 3?"]
    assert [row["instruction"] for row in rest] == ["What is 3 + 3?"]
    assert [row["completion"] for row in some] == ["2", "4"]


def test_it_knows_columns_and_rows_without_loading_the_data(hub: Hub) -> None:
    columns, rows = run(
        hub,
        f"""
step = LoadDataFromHub(name="load", repo_id="{MINI}", split="test", output_mappings={{"prompt": "instruction"}})
print(json.dumps([list(step.get_outputs()), step.num_rows()]))
""",
    )

    assert (columns, rows) == (["instruction", "completion", "meta"], 3)
    assert not any("parquet" in request.path and request.method == "GET" for request in hub.requests)


def test_a_new_commit_is_another_input(hub: Hub) -> None:
    body = f"print(json.dumps(LoadDataFromHub(name='load', repo_id='{MINI}', split='test').input_fingerprint()))"

    before, again = run(hub, body), run(hub, body)
    commit = hub.add_files(MINI, {"notes.txt": b"changed"})

    assert before == again
    assert run(hub, body) == f"commit {commit}"


def test_a_revision_is_the_data_of_that_time(hub: Hub) -> None:
    first = hub.add_dataset("somebody/numbers", {"train": [{"n": 1}]})
    hub.add_dataset("somebody/numbers", {"train": [{"n": 2}]})

    rows = run(
        hub,
        f"""
steps = [LoadDataFromHub(name="load", repo_id="somebody/numbers", revision=r) for r in ("{first}", None)]
print(json.dumps([rows_of(step) for step in steps]))
""",
    )

    assert rows == [[{"n": 1}], [{"n": 2}]]


def test_a_dataset_that_is_not_there_is_named(hub: Hub) -> None:
    said = run(
        hub,
        """
try:
    LoadDataFromHub(name="load", repo_id="somebody/nothing").load()
except Exception as error:
    print(json.dumps(str(error)))
""",
    )

    assert "somebody/nothing" in said
