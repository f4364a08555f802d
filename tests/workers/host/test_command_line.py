"""What an operator says to `distilmq worker`, and what he is told when it makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError
from distilmq_workers.host import offer
from distilmq_workers.host.cli import make_offer, on_loss
from distilmq_workers.host.settings import OnLoss


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("wait:60", OnLoss("wait", 60.0)),
        ("wait", OnLoss("wait", 600.0)),
        ("wait:2h", OnLoss("wait", 7200.0)),
        ("finish", OnLoss("finish")),
        ("exit", OnLoss("exit")),
    ],
)
def test_what_to_do_without_a_broker_is_said_in_a_word(text: str, meant: OnLoss) -> None:
    assert on_loss(text) == meant


def test_another_word_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match="wait:SECONDS, finish or exit, not 'panic'"):
        on_loss("panic")


def test_an_offer_is_what_was_said_and_else_what_the_machine_has() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "4,5"}

    said = make_offer(environment, slots=3, gpus="0, 1", memory="2G", labels=["zone=eu"], resources=["license=2"])
    found = make_offer(environment)

    assert (said.slots, said.gpus, said.memory) == (3, ("0", "1"), 2 * 2**30)
    assert (said.labels, said.resources) == ({"zone": "eu"}, {"license": 2})
    assert (found.slots, found.gpus) == (found.cpus, ("4", "5"))
    assert found.memory > 0


def test_no_gpu_may_be_offered_of_several() -> None:
    assert make_offer({"CUDA_VISIBLE_DEVICES": "0,1"}, gpus="none").gpus == ()


def test_a_resource_without_a_count_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match="--resources takes a count, not license=two"):
        make_offer({}, resources=["license=two"])


def test_gpus_are_counted_by_their_devices(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()

    assert offer.gpus({}, devices=tmp_path) == ("0", "1")


@pytest.mark.parametrize(("limit", "meant"), [("1048576", 1048576), ("max", 2048 * 1024)])
def test_a_container_has_no_more_memory_than_it_may_use(tmp_path: Path, limit: str, meant: int) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  2048 kB\nMemFree: 1 kB\n")
    (tmp_path / "memory.max").write_text(limit + "\n")

    assert offer.memory(meminfo=tmp_path / "meminfo", cgroup=tmp_path / "memory.max") == meant


def test_memory_that_nobody_tells_is_none(tmp_path: Path) -> None:
    assert offer.memory(meminfo=tmp_path / "no", cgroup=tmp_path / "no") == 0
