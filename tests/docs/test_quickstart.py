"""The quickstart runs as the README says: a real model, no key, no network, and a dataset at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.scripts import run_script

QUICKSTART = (ROOT / "docs" / "examples" / "quickstart.py").read_text()

LOAD = """
from distilmq.distiset import Distiset
rows = Distiset.load_from_disk("quickstart-dataset")["default"]["train"]
print(len(rows), all(len(row["generations"]) == 3 and all(row["generations"]) for row in rows))
"""


@pytest.mark.timeout(200)
def test_the_quickstart_makes_a_dataset_that_loads(tmp_path: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "", "http_proxy": "http://127.0.0.1:9"}

    ran = run_script(QUICKSTART, tmp_path, offline)
    loaded = run_script(LOAD, tmp_path, offline)

    assert ran.code == 0, ran.text
    assert f"8 rows with 3 generations each lie in {tmp_path / 'quickstart-dataset'}" in ran.out
    assert loaded.out == "8 True\n", loaded.text
