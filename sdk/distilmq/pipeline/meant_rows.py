"""Which failed rows of a run are meant when some of them are to be computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distilmq.protocol.failure_filter import FailureFilter


class MeantRows:
    """Those of a run.

    Args:
        letters: its dead letters, as they are read.
        only: which of them.
        kinds: step name to `generator`, `normal` or `global`, of all steps.
    """

    def __init__(self, letters: Sequence[Mapping[str, Any]], only: FailureFilter, kinds: Mapping[str, str]) -> None:
        self._letters = letters
        self._only = only
        self._kinds = kinds
        self._chosen = [
            letter for letter in letters if only.takes(letter["step"], letter["error_class"], letter["message"])
        ]
        self.rows = [letter for letter in self._chosen if kinds.get(letter["step"]) != "generator"]
        """The dead letters of rows that can be computed again."""

    def why_none(self) -> str:
        """Why there is no such row, and what to do."""
        unknown = [step for step in self._only.steps if step not in self._kinds]
        if unknown:
            return f"The run has no step '{unknown[0]}'. Its steps are: {', '.join(self._kinds)}."
        if not self._letters:
            return "No row of the run failed: there is nothing to compute again."
        if self._chosen:
            return (
                f"The failed row(s) were given by the generator step '{self._chosen[0]['step']}', whose code has to be"
                " mended: what it gives is not computed again without it."
            )
        return f"None of the {len(self._letters)} failed row(s) is meant: `distilmq failures list` shows them."
