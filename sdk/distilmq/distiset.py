"""The result of a run: one dataset for each step that nothing follows.

    distiset = pipeline.run(...)
    distiset["default"]["train"]            # the rows, in the order of the input
    distiset.train_test_split(0.9)
    distiset.save_to_disk("made-today")
    distiset.push_to_hub("me/made-today")   # load_dataset("me/made-today") gives it back

`datasets` takes a second to import, so it is imported where it is first needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilmq.constants import (
    DISTISET_ARTIFACTS_FOLDER,
    DISTISET_CONFIG_FOLDER,
    PIPELINE_CONFIG_FILENAME,
    PIPELINE_LOG_FILENAME,
)
from distilmq.errors import DistilmqUserError
from distilmq.utils.huggingface import get_hf_token
from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from typing import Self

    from distilmq.dataset.card import CardFacts
    from distilmq.dataset.hub import HubRepo

NOT_YET = ["create_distiset"]
"""Names of distilabel that are not built: what it makes of its cache, `Pipeline.run` and `last_run` give."""

__getattr__, _ = window(__name__, {}, NOT_YET)

DEFAULT = "default"
"""What the only leaf of a pipeline is called."""


class Distiset(dict[str, Any]):
    """Leaf step to `DatasetDict`; what the run left beside the rows is named by its paths.

    Args:
        *args: as `dict` takes them.
        pipeline_path: the run's `pipeline.yaml`.
        log_filename_path: the run's log.
        artifacts_path: folder of what steps saved with `save_artifact`, one folder for each step.
        **kwargs: as `dict` takes them.
    """

    def __init__(
        self,
        *args: Any,
        pipeline_path: Path | None = None,
        log_filename_path: Path | None = None,
        artifacts_path: Path | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.pipeline_path = pipeline_path
        self.log_filename_path = log_filename_path
        self.artifacts_path = artifacts_path

    @property
    def citations(self) -> list[str]:
        """The BibTeX entries of the pipeline's steps, each once, sorted; read from their docstrings, offline."""
        from distilmq.dataset.citations import citations_of

        path = _existing(self.pipeline_path)
        return [] if path is None else citations_of(path)

    def push_to_hub(
        self,
        repo_id: str,
        private: bool = False,
        token: str | None = None,
        generate_card: bool = True,
        include_script: bool = False,
        **kwargs: Any,
    ) -> None:
        """Pushes one config for each leaf, then in one commit the pipeline, its log, artifacts, script and card.

        Args:
            repo_id: `user/name`, or `name` in the token's own namespace.
            private: whether a repository made by this is private.
            token: of the Hub; without it the one in `HF_TOKEN` or of `hf auth login`.
            generate_card: writes a README, keeping the metadata of one that is there.
            include_script: adds the script that runs now.
            **kwargs: what `DatasetDict.push_to_hub` takes besides.

        Raises:
            DistilmqUserError: there is no token, or no script to include, or a leaf has a name the Hub refuses.
        """
        script = _running_script() if include_script else None
        if "data" in self:
            raise DistilmqUserError("The Hub takes no subset of the name 'data': give the step 'data' another name.")
        token = token or get_hf_token(type(self).__name__, "token")
        from distilmq.dataset.hub import HubRepo

        repo = HubRepo.create(repo_id, token, private=private)
        for leaf, splits in self._splits().items():
            repo.push_leaf(leaf, splits, **kwargs)
            # All that follows goes into the pull request that the first push has opened.
            kwargs = repo.following(kwargs)
        self._push_files(repo, script, generate_card=generate_card)

    def save_to_disk(
        self,
        distiset_path: str | Path,
        max_shard_size: str | int | None = None,
        num_shards: int | None = None,
        num_proc: int | None = None,
        storage_options: dict[str, Any] | None = None,
        save_card: bool = True,
        save_pipeline_config: bool = True,
        save_pipeline_log: bool = True,
    ) -> None:
        """Saves all leaves and what belongs to them in a folder, local or behind any `fsspec` URL.

        `<path>/<leaf>/<split>/`, `<path>/distiset_configs/{README.md,pipeline.yaml,pipeline.log}` and
        `<path>/artifacts/`. Files in `distiset_configs` that are there already are not overwritten.

        Args:
            distiset_path: the folder.
            max_shard_size: bytes of a file at most, as a number or as `"500MB"`.
            num_shards: files for each split; one or the other.
            num_proc: processes that write.
            storage_options: for the filesystem.
            save_card: writes a README.
            save_pipeline_config: copies `pipeline.yaml`.
            save_pipeline_log: copies `pipeline.log`.
        """
        from distilmq.dataset.disk import Folder
        from distilmq.dataset.hub import readme, shards_of

        folder = Folder(str(distiset_path), storage_options)
        for leaf, splits in self._splits().items():
            splits.save_to_disk(
                folder.path(leaf),
                max_shard_size=max_shard_size,
                num_shards=None if num_shards is None else shards_of(splits, num_shards),
                num_proc=num_proc,
                storage_options=storage_options,
            )
        artifacts = _existing(self.artifacts_path)
        if artifacts is not None:
            folder.put_folder(artifacts, DISTISET_ARTIFACTS_FOLDER)
        configs = folder.below(DISTISET_CONFIG_FOLDER)
        if save_card:
            configs.put(readme({}, self._facts(folder.name)), "README.md")
        for path, name, wanted in (
            (_existing(self.pipeline_path), PIPELINE_CONFIG_FILENAME, save_pipeline_config),
            (_existing(self.log_filename_path), PIPELINE_LOG_FILENAME, save_pipeline_log),
        ):
            if path is not None and wanted:
                configs.put(path.read_bytes(), name)

    @classmethod
    def load_from_disk(
        cls,
        distiset_path: str | Path,
        keep_in_memory: bool | None = None,
        storage_options: dict[str, Any] | None = None,
        download_dir: str | Path | None = None,
    ) -> Self:
        """Loads what `save_to_disk` has saved.

        Args:
            distiset_path: the folder, local or behind any `fsspec` URL.
            keep_in_memory: reads the rows into memory instead of mapping the files.
            storage_options: for the filesystem.
            download_dir: where pipeline, log and artifacts of a remote folder are put; without it a new folder.

        Raises:
            DistilmqUserError: there is no such folder, or no dataset in it.
        """
        from distilmq.dataset.disk import Folder
        from distilmq.dataset.libraries import datasets

        folder = Folder(str(distiset_path), storage_options)
        leaves = folder.datasets()
        if not leaves:
            raise DistilmqUserError(f"There is no Distiset in '{distiset_path}': save_to_disk writes one.")
        loaded = {
            leaf: datasets.load_from_disk(
                folder.path(leaf), keep_in_memory=keep_in_memory, storage_options=storage_options
            )
            for leaf in leaves
        }
        beside = folder.fetched((DISTISET_CONFIG_FOLDER, DISTISET_ARTIFACTS_FOLDER), download_dir)
        configs = beside / DISTISET_CONFIG_FOLDER
        return cls(
            loaded,
            pipeline_path=_existing(configs / PIPELINE_CONFIG_FILENAME),
            log_filename_path=_existing(configs / PIPELINE_LOG_FILENAME),
            artifacts_path=_existing(beside / DISTISET_ARTIFACTS_FOLDER),
        )

    def train_test_split(self, train_size: float, shuffle: bool = True, seed: int | None = None) -> Self:
        """Splits each leaf in `train` and `test`, in place; one that is split already is split anew as a whole.

        Args:
            train_size: share of the rows in `train`, between 0 and 1.
            shuffle: takes rows at random; without it `train` is the beginning.
            seed: of the shuffling.

        Raises:
            DistilmqUserError: the share is not between 0 and 1.
        """
        if not 0 < train_size < 1:
            raise DistilmqUserError(f"train_size is a share between 0 and 1, not {train_size}.")
        from distilmq.dataset.libraries import datasets

        for leaf, splits in self._splits().items():
            whole: Any = next(iter(splits.values()))
            if len(splits) > 1:
                whole = datasets.concatenate_datasets(list(splits.values()))
            if len(whole) == 0:
                self[leaf] = datasets.DatasetDict(train=whole, test=whole)
            else:
                self[leaf] = whole.train_test_split(train_size=train_size, shuffle=shuffle, seed=seed)
        return self

    def transform_columns_to_image(self, columns: str | list[str]) -> Self:
        """Turns columns of base64 text, as image models give them, into images that the Hub shows; in place.

        Args:
            columns: their names; a leaf that has none of them stays as it is.
        """
        from distilmq.dataset.images import with_images

        names = [columns] if isinstance(columns, str) else columns
        for leaf, value in self.items():
            self[leaf] = with_images(value, names)
        return self

    def __repr__(self) -> str:
        body = "\n".join(f"{leaf}: {value!r}" for leaf, value in self.items())
        indented = "\n".join(f"    {line}" for line in body.splitlines())
        return f"Distiset({{\n{indented}\n}})"

    def _splits(self) -> dict[str, Any]:
        """The leaves as DatasetDicts: a plain Dataset is its own train split."""
        from distilmq.dataset.libraries import datasets

        return {
            leaf: value if isinstance(value, datasets.DatasetDict) else datasets.DatasetDict(train=value)
            for leaf, value in self.items()
        }

    def _push_files(self, repo: HubRepo, script: Path | None, *, generate_card: bool) -> None:
        files: list[tuple[Path | bytes, str]] = []
        artifacts = _existing(self.artifacts_path)
        if artifacts is not None:
            inside = (path for path in sorted(artifacts.rglob("*")) if path.is_file())
            files += [
                (path, f"{DISTISET_ARTIFACTS_FOLDER}/{path.relative_to(artifacts).as_posix()}") for path in inside
            ]
        if script is not None:
            files.append((script, script.name))
        for path, name in (
            (_existing(self.pipeline_path), PIPELINE_CONFIG_FILENAME),
            (_existing(self.log_filename_path), PIPELINE_LOG_FILENAME),
        ):
            if path is not None:
                files.append((path, name))
        if generate_card:
            facts = self._facts(repo.repo_id, endpoint=repo.endpoint, script=script.name if script else "")
            files.append((repo.card(facts), "README.md"))
        repo.push(files, "Add the pipeline and what it left beside the rows")

    def _facts(self, repo_id: str, *, endpoint: str = "https://huggingface.co", script: str = "") -> CardFacts:
        from distilmq.dataset.card import CardFacts, files_below
        from distilmq.dataset.citations import named_pipeline

        pipeline, artifacts = _existing(self.pipeline_path), _existing(self.artifacts_path)
        name, description = ("", "") if pipeline is None else named_pipeline(pipeline)
        return CardFacts(
            repo_id=repo_id,
            leaves=self._splits(),
            endpoint=endpoint,
            pipeline=name,
            description=description,
            script=script,
            has_pipeline=pipeline is not None,
            has_log=_existing(self.log_filename_path) is not None,
            artifacts=[] if artifacts is None else files_below(artifacts, DISTISET_ARTIFACTS_FOLDER),
            citations=self.citations,
        )


def build_distiset(
    leaves: Mapping[str, Iterable[bytes]],
    *,
    directory: Path,
    pipeline_path: Path | None = None,
    log_filename_path: Path | None = None,
    artifacts_path: Path | None = None,
    features: Mapping[str, Any] | None = None,
    columns: Mapping[str, Iterable[str]] | None = None,
    enable_metadata: bool = True,
    keep_in_memory: bool = False,
) -> Distiset:
    """The Distiset of a run, from the encoded rows of its leaves.

    The schema of a leaf is the union over all of its rows, found before anything is written: None joins any
    type, integers with floats are floats, dicts and lists are joined field by field. A column whose values do
    not join is written as JSON text, with a warning that names it and the rows. No value becomes None.
    The rows pass through files below `directory`, a few megabytes at a time.

    Args:
        leaves: leaf step to its payloads, in order; each a msgpack array of encoded rows.
        directory: of the run; the files are `data/<leaf>/*.parquet`.
        pipeline_path: the run's `pipeline.yaml`.
        log_filename_path: the run's log.
        artifacts_path: folder of the run's artifacts.
        features: by column, what the data that was given to the run declares; kept where all values fit it.
        columns: by leaf, the columns it has even when it has no row.
        enable_metadata: as in distilabel, whose results hold `distilmq_metadata` either way.
        keep_in_memory: reads the rows into memory, for a directory that will not stay.
    """
    from distilmq.dataset.build import build_leaf
    from distilmq.dataset.libraries import datasets

    data = Path(directory) / "data"
    data.mkdir(parents=True, exist_ok=True)
    built: dict[str, Any] = {}
    for leaf, payloads in leaves.items():
        dataset = build_leaf(
            leaf,
            payloads,
            data,
            given=features or {},
            known=(columns or {}).get(leaf, ()),
            in_memory=keep_in_memory,
        )
        built[DEFAULT if len(leaves) == 1 else leaf] = datasets.DatasetDict(train=dataset)
    return Distiset(
        built,
        pipeline_path=_existing(pipeline_path),
        log_filename_path=_existing(log_filename_path),
        artifacts_path=_existing(artifacts_path),
    )


def _existing(path: Path | None) -> Path | None:
    return path if path is not None and Path(path).exists() else None


def _running_script() -> Path:
    script = Path(sys.argv[0]).resolve()
    if not script.is_file():
        raise DistilmqUserError(
            f"include_script=True, but '{sys.argv[0]}' is no file: a notebook or console has no script to push."
        )
    return script
