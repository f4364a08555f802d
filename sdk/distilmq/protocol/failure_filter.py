"""Which failed rows are meant: those of some steps, or with some error."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FailureFilter(BaseModel):
    """Takes a failed row when both its step and its error are named; nothing named stands for all."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    steps: tuple[str, ...] = ()
    """By name."""
    errors: tuple[str, ...] = ()
    """Class names of errors, or parts of their messages, in whatever case."""

    def takes(self, step: str, error_type: str, message: str) -> bool:
        """Whether a row that failed in this step with this error is meant."""
        return self._takes_step(step) and self._takes_error(error_type, message)

    def _takes_step(self, step: str) -> bool:
        return not self.steps or step in self.steps

    def _takes_error(self, error_type: str, message: str) -> bool:
        if not self.errors:
            return True
        wanted = [error.casefold() for error in self.errors]
        return any(each == error_type.casefold() or each in message.casefold() for each in wanted)
