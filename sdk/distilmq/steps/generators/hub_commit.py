"""Which commit of a dataset on the Hub is loaded."""

from __future__ import annotations

import logging
import re
from pathlib import Path

_TIMEOUT = 20.0
_COMMIT = re.compile(r"[0-9a-f]{40}")

_log = logging.getLogger("distilmq.steps.generators")


def commit_of(repo_id: str, revision: str | None = None) -> str | None:
    """The commit that a revision of a dataset stands for.

    Where the Hub cannot be asked it is the one that was loaded last, from the local cache: that is what is loaded
    without the Hub, and a run that goes on offline shall find what it has done. None when that is not known.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(repo_id, revision=revision, timeout=_TIMEOUT).sha
    except Exception as error:  # noqa: BLE001  # whatever keeps the Hub from answering, a cached copy may do
        _log.debug("The Hub does not tell the commit of '%s': %s", repo_id, error)
    return _cached_commit(repo_id, revision or "main")


def _cached_commit(repo_id: str, revision: str) -> str | None:
    from huggingface_hub import constants

    ref = Path(constants.HF_HUB_CACHE) / ("datasets--" + repo_id.replace("/", "--")) / "refs" / revision
    return ref.read_text().strip() if ref.is_file() else None
