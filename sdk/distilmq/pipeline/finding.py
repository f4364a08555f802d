"""Which run is meant: by its directory, its id, or the pipeline whose latest run it is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from distilmq.errors import DistilmqUserError
from distilmq.pipeline.launch import folder_name

_PLAN = "plan.msgpack"


def find_run(run: str, cache_dir: Path) -> Path:
    """The directory of a run.

    Args:
        run: its directory, its id (the directory's name), or a pipeline's name for the latest run of it.
        cache_dir: where ids and names are looked for.

    Raises:
        DistilmqUserError: there is none; the message names what there is.
    """
    if (directory := Path(run).expanduser()).joinpath(_PLAN).is_file():
        return directory.resolve()
    by_id = [directory for directory in _runs(cache_dir) if directory.name == run]
    by_name = [directory for directory in _runs(cache_dir) if run and directory.parent.name == folder_name(run)]
    if found := by_id or by_name:
        return max(found, key=_begun)
    names = sorted({directory.parent.name for directory in _runs(cache_dir)})
    known = f"There are runs of: {', '.join(names)}." if names else "There are no runs."
    raise DistilmqUserError(
        f"'{run}' is no run: it is neither the directory of one, nor the id of one, nor the name of a pipeline, in"
        f" {cache_dir}. {known}"
    )


def _runs(cache_dir: Path) -> Iterable[Path]:
    return [plan.parent for plan in cache_dir.glob(f"*/*/{_PLAN}")]


def _begun(directory: Path) -> float:
    return (directory / _PLAN).stat().st_mtime
