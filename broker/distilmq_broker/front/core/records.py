"""What is kept of a run that was submitted, beside its plan and its journal."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from distilmq.protocol.messages.runs import RunState

Wish = Literal["run", "pause", "stop", "kill"]
"""What is wanted of a run."""


class RunRecord(BaseModel):
    """One run; unknown fields of a newer minor version are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run: str
    pipeline: str = ""
    key: str = ""
    """What makes two submissions the same."""
    submitted: float = 0.0
    """Seconds since the epoch."""
    ended: float | None = None
    weight: float = 1.0
    leaves: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The steps that the dataset has a subset for each of, with their columns."""
    variables: tuple[str, ...] = ()
    """Environment variables that its secrets come from."""
    wish: Wish = "run"
    state: RunState = "running"
    reason: str = ""
    """Why it is paused, or has failed."""

    @property
    def over(self) -> bool:
        """Whether nothing more is computed for it, unless it is resumed."""
        return self.state in ("done", "stopped", "failed")
