"""Every block of the guide runs, as a file, against real servers: a Hub and three providers on loopback."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from distilmq_broker.adapters.ledger import DONE
from tests.docs.pages import Block, Page, read_page
from tests.docs.scripts import Ran, run_command, run_script, running_script
from tests.docs.world import PUSHED, World, running_world
from tests.integration.runs import of_kind, until

GUIDE = read_page("docs/guide.md")
FULL = GUIDE.named("example", "full")
"""Has tests of its own, which run it and look at more than its end."""
EXAMPLES = [pytest.param(block, id=block.place) for block in GUIDE.of_kind("example") if block is not FULL]
COMMANDS = [pytest.param(block, id=block.place) for block in GUIDE.of_kind("commands")]

READ_BACK = f"""
import json
from datasets import load_dataset
rows = load_dataset({PUSHED!r}, split="train")
print(json.dumps([dict(row) for row in rows]))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The folder that the reader works in: it holds the one file that the guide reads."""
    table = tmp_path / "path" / "to" / "dataset.csv"
    table.parent.mkdir(parents=True)
    table.write_text("prompt\nWhat is one and one?\nWhat is two and two?\n")
    return tmp_path


def ending(page: Page, ran: Ran, block: Block) -> None:
    """Checks how a block ended against what its comment says."""
    name = block.facts.get("fails")
    if name is None:
        assert ran.code == 0, ran.text
        return
    message = " ".join(page.named("message", name).code.split())
    assert ran.code == 1, ran.text
    assert message in " ".join(ran.err.split()), ran.text


@pytest.mark.parametrize("block", EXAMPLES)
def test_a_block_of_the_guide_runs(block: Block, world: World, desk: Path) -> None:
    ran = run_script(GUIDE.script(block), desk, world.environment)

    ending(GUIDE, ran, block)


@pytest.mark.parametrize("block", COMMANDS)
def test_a_command_of_the_guide_runs(block: Block, world: World, desk: Path) -> None:
    saved = run_script(GUIDE.script(GUIDE.named("example", block.facts["after"])), desk, world.environment)
    assert saved.code == 0, saved.text

    for line in block.code.splitlines():
        ran = run_command(line.removeprefix("$ "), desk, world.environment)

        assert ran.code == 0, ran.text


def test_the_full_example_pushes_what_can_be_read_back(world: World, desk: Path) -> None:
    world.forget_asked()

    ran = run_script(GUIDE.script(FULL), desk, world.environment)

    assert ran.code == 0, ran.text
    assert "text_generation_with_gemini-1-0-pro" in ran.out + ran.err, ran.text
    assert world.hub.read(PUSHED, "pipeline.yaml")
    assert b"distilmq" in world.hub.read(PUSHED, "README.md")
    rows = json.loads(run_script(READ_BACK, desk, world.environment).out.splitlines()[-1])
    assert [row["instruction"] for row in rows] == ["What is 1 + 1?", "What is 2 + 2?", "What is 3 + 3?"]
    for row in rows:
        assert row["model_names"] == ["gpt-4-0125-preview", "mistral-large-2402", "gemini-1.0-pro"]
        assert all(isinstance(generation, str) and generation for generation in row["generations"]), row
    assert {provider: world.asked(provider) for provider in ("openai", "mistral", "vertex")} == {
        "openai": 3,
        "mistral": 3,
        "vertex": 3,
    }


def test_the_full_example_runs_over_a_coordinator_workers_and_a_journal(world: World, desk: Path) -> None:
    world.forget_asked()
    world.providers.hold()

    with running_script(GUIDE.script(FULL), desk, world.environment) as script:
        try:
            until(lambda: len(world.providers.asked) == 9, "all three providers are asked for all rows")
            # The loader is done and gone; the three tasks and the join are there, once each.
            until(lambda: len(of_kind(script.pid, "worker")) == 4, "one process for each replica that has work left")
            [coordinator] = of_kind(script.pid, "coordinator")
            sockets = [Path(word.removeprefix("ipc://")) for word in coordinator.cmdline() if word.startswith("ipc://")]
            early = recorded_batches(desk)
            assert [socket.is_socket() for socket in sockets] == [True]
        finally:
            world.providers.release()
        code = script.wait(90)

    assert code == 0, (desk / "output.txt").read_text()
    assert early == ["load_dataset"]
    assert sorted(recorded_batches(desk)) == [
        "combine_generations",
        "load_dataset",
        "text_generation_with_gemini-1-0-pro",
        "text_generation_with_gpt-4-0125-preview",
        "text_generation_with_mistral-large-2402",
    ]


def recorded_batches(desk: Path) -> list[str]:
    """The step of each batch that is in the ledger of the one run below the desk."""
    [ledger] = (desk / "cache").glob("*/*/ledger.db")
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=10)) as connection:
        return [step for (step,) in connection.execute("SELECT step FROM batch WHERE state = ?", (DONE,))]
