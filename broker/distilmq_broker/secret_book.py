"""The secret values of a run's steps, in memory only: what clients sent, and what the broker keeps for all runs."""

from __future__ import annotations

from collections.abc import Mapping

from distilmq.protocol.plan import Plan

StepSecrets = Mapping[str, Mapping[str, str]]
"""Step to dotted field to value."""


class SecretBook:
    """Finds the value of each secret field: of one whose value came from an environment variable, the worker's own
    counts first, then what the broker keeps under that name, then what a client sent.

    Args:
        plan: of the run.
        sent: by clients; it fills as they send.
    """

    def __init__(self, plan: Plan, sent: StepSecrets) -> None:
        self._variables = {step.name: step.secrets for step in plan.steps}
        self._sent = sent
        self._stored: Mapping[str, str] = {}

    def store(self, values: Mapping[str, str]) -> None:
        """What the broker keeps: environment variable to value."""
        self._stored = values

    def values(self, step: str) -> dict[str, str]:
        """Dotted field to value."""
        kept = {field: self._stored[name] for field, name in self._variables[step].items() if name in self._stored}
        return {**self._sent.get(step, {}), **kept}

    def variables(self, step: str) -> dict[str, str]:
        """Dotted field to the environment variable of the worker that counts first."""
        return {field: name for field, name in self._variables[step].items() if name}

    def missing(self) -> dict[str, tuple[str, ...]]:
        """Steps that cannot be loaded yet, each with the fields whose value nobody has told."""
        lacking = {step: set(fields) - set(self.values(step)) for step, fields in self._variables.items()}
        return {step: tuple(sorted(fields)) for step, fields in lacking.items() if fields}
