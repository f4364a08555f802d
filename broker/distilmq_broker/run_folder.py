"""The folder of one run: what lies where, readable by its owner only."""

from __future__ import annotations

import os
from pathlib import Path

from distilmq.errors import JournalError
from distilmq.protocol.plan import Plan, decode_plan, encode_plan


class RunFolder:
    """Paths within a run's folder, and the plan that is kept there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan_file = path / "plan.msgpack"
        self.log_file = path / "pipeline.log"
        self.workers_log = path / "workers.log"
        self.artifacts = path / "artifacts"
        self.data = path / "data"
        """Data files of the plan, by digest."""

    def make(self) -> None:
        """Makes the folder.

        Raises:
            JournalError: it cannot be made.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"cannot make {self.path}: {error.strerror}") from error

    def stored_plan(self) -> Plan | None:
        """The plan of an earlier start; None where there was none."""
        try:
            return decode_plan(self.plan_file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise JournalError(f"cannot read {self.plan_file}: {error}") from error

    def store_plan(self, plan: Plan) -> None:
        """Keeps the plan, whole or not at all."""
        draft = self.plan_file.with_suffix(".draft")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(encode_plan(plan))
            draft.rename(self.plan_file)
        except OSError as error:
            raise JournalError(f"cannot write {self.plan_file}: {error.strerror}") from error
