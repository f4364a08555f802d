"""The README of a dataset on the Hub, and of one saved to disk: what it holds and how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

TAGS = ("synthetic", "distilmq")
_LONGEST_TEXT = 1_000
_LONGEST_LIST = 20
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card tells."""

    repo_id: str
    leaves: Mapping[str, Mapping[str, Any]]
    """Leaf to split to Dataset."""
    endpoint: str = "https://huggingface.co"
    pipeline: str = ""
    """Name of the pipeline."""
    description: str = ""
    script: str = ""
    """File name of the script in the repository."""
    has_pipeline: bool = False
    has_log: bool = False
    artifacts: Sequence[str] = ()
    """Paths of the files in the repository."""
    citations: Sequence[str] = ()


def size_category(rows: int) -> str:
    """What the Hub calls a dataset of this many rows."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1T")


def merged_metadata(existing: Mapping[str, Any], facts: CardFacts) -> dict[str, Any]:
    """The header of the card: what the repository says already, with our tags and the size beside it."""
    rows = max((sum(map(len, splits.values())) for splits in facts.leaves.values()), default=0)
    tags: list[str] | str = existing.get("tags") or []
    return {
        **existing,
        "size_categories": size_category(rows),
        "tags": list(dict.fromkeys([*([tags] if isinstance(tags, str) else tags), *TAGS])),
    }


def card_text(facts: CardFacts) -> str:
    """The body of the card, as markdown."""
    parts = [_opening(facts), _making(facts), _subsets(facts), _artifacts(facts), _references(facts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(facts: CardFacts) -> str:
    name = facts.repo_id.rsplit("/", 1)[-1]
    made = f"by the pipeline `{facts.pipeline}`" if facts.pipeline else "by a pipeline"
    text = f"# {name}\n\nThe rows of this dataset were made {made} of [distilmq](https://github.com/distilmq/distilmq)."
    return f"{text}\n\n> {facts.description.strip()}" if facts.description.strip() else text


def _making(facts: CardFacts) -> str:
    if not (facts.has_pipeline or facts.script):
        return ""
    base = f"{facts.endpoint}/datasets/{facts.repo_id}/raw/main"
    lines = ["## Making it again"]
    if facts.has_pipeline:
        lines += [
            "`pipeline.yaml` in this repository is the whole pipeline; keys and passwords are not in it."
            " This looks at it, and runs it:",
            _code(
                "console",
                f"distilmq pipeline info --config {base}/pipeline.yaml\n"
                f"distilmq pipeline run --config {base}/pipeline.yaml",
            ),
        ]
    if facts.script:
        lines += [
            f"The script that built it is [`{facts.script}`]({base}/{facts.script}). Read it before you run it:",
            _code("console", f"distilmq pipeline run --script {base}/{facts.script}"),
        ]
    if facts.has_log:
        lines.append("`pipeline.log` tells how the run went.")
    return "\n\n".join(lines)


def _subsets(facts: CardFacts) -> str:
    lines = ["## Subsets", "One for each step that nothing follows."]
    for leaf, splits in facts.leaves.items():
        lines += [f"### {leaf}", _split_table(splits)]
        first = next((dataset for dataset in splits.values() if len(dataset)), None)
        if first is None:
            lines.append("No row came out of this step, and `datasets` does not load a split without rows.")
            continue
        shown = json.dumps(_shown(first[0]), indent=2, ensure_ascii=False)
        lines += [f"Its first row:\n\n{_code('json', shown)}", _loading(facts, leaf)]
    return "\n\n".join(lines)


def _split_table(splits: Mapping[str, Any]) -> str:
    head = "| split | rows | columns |\n|---|---|---|\n"
    return head + "\n".join(
        f"| {name} | {len(dataset)} | {', '.join(f'`{column}`' for column in dataset.column_names)} |"
        for name, dataset in splits.items()
    )


def _loading(facts: CardFacts, leaf: str) -> str:
    # A dataset whose only config is named "default" is loaded without a name.
    subset = "" if leaf == "default" and len(facts.leaves) == 1 else f', "{leaf}"'
    code = f'from datasets import load_dataset\n\ndataset = load_dataset("{facts.repo_id}"{subset})'
    return f"To load it:\n\n{_code('python', code)}"


def _artifacts(facts: CardFacts) -> str:
    if not facts.artifacts:
        return ""
    listed = "\n".join(f"- [`{path}`]({path})" for path in facts.artifacts)
    return f"## Artifacts\n\nFiles that steps saved while they ran:\n\n{listed}"


def _references(facts: CardFacts) -> str:
    if not facts.citations:
        return ""
    entries = "\n\n".join(_code("bibtex", entry) for entry in facts.citations)
    return f"## References\n\nThe steps build on this work; please cite it:\n\n{entries}"


def _code(language: str, text: str) -> str:
    # A fence must be longer than any run of backticks in what it holds.
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def _shown(value: Any) -> Any:
    """A value short enough for a card."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]}… ({len(value)} characters)"
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return {name: _shown(part) for name, part in fields.items()}
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[Any]", value)
        more = [f"… ({len(items)} items)"] if len(items) > _LONGEST_LIST else []
        return [_shown(item) for item in items[:_LONGEST_LIST]] + more
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if hasattr(value, "size") and hasattr(value, "mode"):
        return f"(image, {value.size[0]} x {value.size[1]})"
    return str(value)


def files_below(folder: Path, prefix: str) -> list[str]:
    """The files in a folder, as paths below `prefix`."""
    return sorted(f"{prefix}/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*") if path.is_file())
