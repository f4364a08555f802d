"""The log of a run is JSON lines, and never a reason for the run to end."""

from __future__ import annotations

import io
import json
from pathlib import Path

from distilmq_broker.logbook import Logbook, open_logbook


def test_each_event_is_one_line_with_the_bound_fields(tmp_path: Path) -> None:
    log = open_logbook(tmp_path / "pipeline.log", run="r1")
    log.bind(epoch=2)
    log.info("started", step="load", text="two\nlines, ünïcode")
    log.close()

    (line,) = [json.loads(line) for line in (tmp_path / "pipeline.log").read_text().splitlines()]
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "event": "started",
        "run": "r1",
        "epoch": 2,
        "step": "load",
        "text": "two\nlines, ünïcode",
    }


def test_events_below_the_level_are_left_out() -> None:
    stream = io.BytesIO()
    log = Logbook(stream, level="WARNING")

    log.debug("a")
    log.info("b")
    log.warning("c")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["c"]


def test_a_full_disk_stops_the_log_and_nothing_else() -> None:
    with open("/dev/full", "ab", buffering=0) as full:
        Logbook(full).info("lost")
