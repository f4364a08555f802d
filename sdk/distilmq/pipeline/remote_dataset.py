"""The dataset of a run at a broker: its rows, and what it left beside them, brought to this machine."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from distilmq.constants import PIPELINE_CONFIG_FILENAME, PIPELINE_LOG_FILENAME
from distilmq.errors import RunError
from distilmq.pipeline.client import Client
from distilmq.protocol.messages import FileInfo
from distilmq.protocol.plan import DatasetSpec

if TYPE_CHECKING:
    from distilmq.distiset import Distiset

_ARTIFACTS = "artifacts"


def fetch_distiset(client: Client, folder: Path, *, log: bytes) -> Distiset:
    """Builds the Distiset of a run.

    Args:
        client: of the run.
        folder: where files and rows are put.
        log: of the run.
    """
    from distilmq.distiset import build_distiset

    described = client.describe()
    spec = described.dataset
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = folder / PIPELINE_CONFIG_FILENAME
    if spec.config:
        config.write_text(spec.config, encoding="utf-8")
    (folder / PIPELINE_LOG_FILENAME).write_bytes(log)
    for file in client.files():
        _fetch_file(client, file, folder)
    return build_distiset(
        {leaf: client.fetch(leaf) for leaf in described.leaves},
        directory=folder,
        pipeline_path=config,
        log_filename_path=folder / PIPELINE_LOG_FILENAME,
        artifacts_path=folder / _ARTIFACTS,
        features=decoded_features(spec),
        columns=spec.columns,
        enable_metadata=spec.enable_metadata,
    )


def encoded_features(features: dict[str, Any]) -> str:
    """What datasets declare of their columns, as text that another machine understands."""
    if not features:
        return ""
    from distilmq.dataset.libraries import datasets

    return json.dumps(datasets.Features(features).to_dict())


def decoded_features(spec: DatasetSpec) -> dict[str, Any]:
    """What `encoded_features` has written."""
    if not spec.features:
        return {}
    from distilmq.dataset.libraries import datasets

    return dict(datasets.Features.from_dict(json.loads(spec.features)))


def _fetch_file(client: Client, file: FileInfo, folder: Path) -> None:
    place = PurePosixPath(file.path)
    if place.is_absolute() or ".." in place.parts or place.parts[:1] != (_ARTIFACTS,):
        raise RunError(f"The broker names an artifact {file.path!r:.200}, which is no path of one.")
    target = folder / place
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with partial.open("wb") as written:
        for data in client.read_file(file):
            written.write(data)
    partial.replace(target)
