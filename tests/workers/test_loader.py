"""A step from its definition: whose secrets it gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from pydantic import SecretStr

from distilmq.protocol.messages import Assign
from distilmq.steps import Step, StepInput
from distilmq_workers.loader import load_step


class Asks(Step):
    """Has a key."""

    api_key: SecretStr | None = None

    def process(self, inputs: StepInput) -> Iterator[list[dict[str, Any]]]:
        """Gives back what came."""
        yield inputs


@pytest.mark.parametrize(
    ("environment", "variables", "expected"),
    [
        ("of-this-machine", {"api_key": "SOME_API_KEY"}, "of-this-machine"),
        ("", {"api_key": "SOME_API_KEY"}, "sent"),
        ("of-this-machine", {}, "sent"),
    ],
    ids=["the worker's own", "none of its own", "given by the user"],
)
def test_the_workers_own_key_counts_first_unless_the_user_gave_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str, variables: dict[str, str], expected: str
) -> None:
    monkeypatch.setenv("SOME_API_KEY", environment)
    assign = Assign(step="asks", replica=0, secrets={"api_key": "sent"}, variables=variables)

    step: Any = load_step(assign, cloudpickle.dumps(Asks(name="asks")), tmp_path)

    assert step.api_key.get_secret_value() == expected
