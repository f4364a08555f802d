"""As many step processes as the core asks for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distilmq.transport.memory import MemoryTransport
from distilmq_broker.logbook import open_logbook
from distilmq_broker.post import Post
from distilmq_broker.sessions import Sessions
from distilmq_broker.slots import SlotKeeper
from tests.broker.serving import NoLauncher


@pytest.mark.parametrize(("wanted", "code", "level"), [(0, 0, "info"), (0, -9, "warning"), (2, 0, "warning")])
def test_only_a_supervisor_that_was_not_let_go_is_worth_a_warning(
    tmp_path: Path, wanted: int, code: int, level: str
) -> None:
    launcher, log = NoLauncher(), open_logbook(tmp_path / "pipeline.log", run="r1")
    slots = SlotKeeper(launcher, Post(MemoryTransport().listen("here"), Sessions(), log), log)
    slots.keep(2)
    slots.keep(wanted)
    launcher.ends.append(("host-1", code))

    ended = slots.ended()
    log.close()

    lines = [json.loads(line) for line in (tmp_path / "pipeline.log").read_text().splitlines()]
    assert [line["level"] for line in lines if line["event"] == "supervisor_ended"] == [level]
    assert [(each.worker, each.code) for each in ended] == [("host-1", code)]
    assert len(launcher.started) == (2 if wanted else 1), "it is replaced while it is wanted"
