"""What every release wrote on the wire and on disk is read by this one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from distilmq.pipeline.run import Place, reopened
from distilmq.protocol.codec import decode
from distilmq.protocol.rows import decode_row, decode_rows
from tests.golden.examples import UNIONS, members
from tests.golden.write import HERE

RELEASES = sorted(folder for folder in HERE.iterdir() if (folder / "frames.json").exists())
FRAMES = [
    pytest.param(union, kind, entry, id=f"{folder.name}-{union}-{kind}")
    for folder in RELEASES
    for union, kinds in json.loads((folder / "frames.json").read_text()).items()
    for kind, entry in kinds.items()
]
releases = pytest.mark.parametrize("release", [pytest.param(folder, id=folder.name) for folder in RELEASES])


@pytest.mark.parametrize(("union", "kind", "entry"), FRAMES)
def test_frames_of_a_release_are_read(union: str, kind: str, entry: dict[str, Any]) -> None:
    message, payload = decode([bytes.fromhex(frame) for frame in entry["frames"]], UNIONS[union])

    found = message.model_dump(mode="json")
    assert (type(message).__name__, payload) == (kind, [])
    assert _as_before(found, entry["fields"]) == entry["fields"]


def test_the_newest_release_has_all_messages() -> None:
    kept = json.loads((RELEASES[-1] / "frames.json").read_text())

    assert {union: {*kinds} for union, kinds in kept.items()} == {
        name: {kind.__name__ for kind in members(union)} for name, union in UNIONS.items()
    }


@releases
def test_a_run_of_a_release_is_read(release: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "golden" / "run", tmp_path)
    shutil.copytree(release / "run", place.directory)

    parts, failures, usage = reopened(
        place, lambda client: ([*client.fetch("group")], client.failures(), client.usage())
    )

    rows = [row for part in parts for row in decode_rows(part)]
    expected = json.loads((release / "rows.json").read_text())
    assert [{name: row[name] for name in ("instruction", "generations")} for row in rows] == expected
    assert [decode_row(failure["input"])["instruction"] for failure in failures] == ["question 7"]
    assert usage


def _as_before(found: Any, kept: Any) -> Any:
    """What was found without the fields that the release did not know."""
    if isinstance(found, dict) and isinstance(kept, dict):
        return {name: _as_before(value, kept[name]) for name, value in found.items() if name in kept}
    if isinstance(found, list) and isinstance(kept, list) and len(found) == len(kept):
        return [_as_before(*pair) for pair in zip(found, kept, strict=True)]
    return found
