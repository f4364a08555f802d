"""The commands of the page on security, as an operator types them where a broker has its directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from distilmq.transport.connection_file import read_connection
from distilmq_broker.keys.handing_out import hand_out_first
from distilmq_broker.keys.store import KeyStore
from tests.docs.pages import read_page

BLOCK = read_page("docs/security.md").named("commands", "new")
COMMANDS = [line.removeprefix("$ ") for line in BLOCK.code.splitlines()]


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    store = KeyStore(tmp_path / "broker")
    hand_out_first(store, "tcp://127.0.0.1:5555")
    return store


def test_the_commands_make_list_and_revoke_a_key(store: KeyStore, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DISTILMQ_BROKER_DIR": str(tmp_path / "broker"),
    }

    ran = [
        subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        for command in COMMANDS
    ]

    assert [process.returncode for process in ran] == [0, 0, 0], [process.stderr for process in ran]
    made = read_connection(tmp_path / "gpu-7.json")
    assert made.public_key in ran[1].stdout
    assert store.allowed()[made.public_key].revoked


def test_the_reasons_on_the_page_are_those_that_are_counted() -> None:
    """Each reason that the code counts stands in the table, and no other."""
    page = (Path(__file__).parents[2] / "docs/security.md").read_text()
    table = page[page.index("| `reason` of") : page.index("Ten thousand connections")]
    on_page = {line.split("`")[1] for line in table.splitlines()[2:] if line.startswith("| `")}
    sources = Path(__file__).parents[2]
    code = "".join(
        (sources / path).read_text()
        for path in (
            "sdk/distilmq/transport/front.py",
            "sdk/distilmq/transport/handshakes.py",
            "broker/distilmq_broker/front/service.py",
        )
    )

    assert [reason for reason in sorted(on_page) if json.dumps(reason) not in code] == []
