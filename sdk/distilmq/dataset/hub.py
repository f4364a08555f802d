"""Pushing what belongs to a dataset besides its rows: artifacts, script, card, pipeline and log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distilmq.dataset.card import CardFacts, card_text, merged_metadata
from distilmq.dataset.libraries import hub


class HubRepo:
    """A dataset repository that exists."""

    def __init__(self, api: Any, repo_id: str) -> None:
        self.repo_id = repo_id
        self._api = api
        self._revision: str | None = None

    @classmethod
    def create(cls, repo_id: str, token: str, *, private: bool) -> HubRepo:
        """The repository of that id, made where there is none; a bare name is completed with the token's namespace."""
        api: Any = hub.HfApi(token=token, library_name="distilmq")
        made = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        return cls(api, made.repo_id)

    def push_leaf(self, leaf: str, splits: Any, **kwargs: Any) -> None:
        """Pushes the rows of a leaf as the config of its name."""
        shards = kwargs.pop("num_shards", None)
        info = splits.push_to_hub(
            self.repo_id,
            config_name=leaf,
            token=self._api.token,
            num_shards=shards_of(splits, shards) if isinstance(shards, int) else shards,
            **kwargs,
        )
        self._revision = (info.pr_revision if kwargs.get("create_pr") else None) or kwargs.get("revision")

    def following(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The options of the pushes after the first: they go where that one went."""
        return {**kwargs, "create_pr": False, "revision": self._revision}

    @property
    def endpoint(self) -> str:
        """Where the Hub is."""
        return self._api.endpoint

    def push(self, files: Sequence[tuple[Path | bytes, str]], message: str) -> None:
        """Commits files, given as content or path, each with its path in the repository."""
        if not files:
            return
        operations = [hub.CommitOperationAdd(path_in_repo=target, path_or_fileobj=source) for source, target in files]
        self._api.create_commit(
            self.repo_id,
            operations,
            commit_message=message,
            repo_type="dataset",
            revision=self._revision,
        )

    def card(self, facts: CardFacts) -> bytes:
        """The README for the repository: our text under the header that it has by now.

        Pushing the rows wrote the configs and features into that header; a licence or tags that somebody set
        by hand are kept as well.
        """
        return readme(self._header(), facts)

    def _header(self) -> dict[str, Any]:
        try:
            path = self._api.hf_hub_download(self.repo_id, "README.md", repo_type="dataset", revision=self._revision)
        except (hub.errors.EntryNotFoundError, hub.errors.RepositoryNotFoundError):
            return {}
        return hub.DatasetCard(Path(path).read_text(encoding="utf-8"), ignore_metadata_errors=True).data.to_dict()


def shards_of(splits: Mapping[str, Any], wanted: int) -> dict[str, int]:
    """The number of files for each split: no more than it has rows."""
    return {split: max(1, min(wanted, len(dataset))) for split, dataset in splits.items()}


def readme(header: dict[str, Any], facts: CardFacts) -> bytes:
    """A README with a header of metadata."""
    data = hub.DatasetCardData(**merged_metadata(header, facts), ignore_metadata_errors=True)
    return f"---\n{data.to_yaml()}\n---\n\n{card_text(facts)}".encode()
