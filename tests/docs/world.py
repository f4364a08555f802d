"""What the guide's scripts meet: a Hub with the two datasets they load, and the three providers they ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.hub import Hub, running_hub
from tests.servers.providers import ProviderServer
from tests.warm.python import warm_python

PUSHED = "distilabel-internal-testing/instruction-dataset-mini-with-generations"


@dataclass(frozen=True, slots=True)
class World:
    """Running servers and the environment that leads to them."""

    hub: Hub
    providers: ProviderServer
    environment: dict[str, str]

    def asked(self, provider: str) -> int:
        """How many requests a provider got."""
        return len(self.providers.of(provider))

    def forget_asked(self) -> None:
        """Counts requests from here on."""
        self.providers.asked.clear()


@contextmanager
def running_world(folder: Path) -> Iterator[World]:
    """Runs all servers until the block ends."""
    with running_hub(folder / "hub") as hub, ProviderServer() as providers:
        hub.add_mini()
        hub.add_dataset("DIBT/10k_prompts_ranked", {"train": _ranked_prompts()})
        environment = {**hub.environment, "HF_HUB_OFFLINE": "0", **providers.env(folder)}
        with warm_python({**os.environ, **environment}):
            yield World(hub, providers, environment)


def _ranked_prompts() -> list[dict[str, object]]:
    """Rows of which more than 500 pass the guide's filter."""
    return [
        {"prompt": f"What is {number}?", "avg_rating": float(3 + number % 3), "num_responses": 1 + number % 4}
        for number in range(1200)
    ]
