"""Runs on a real Ray cluster of this machine: its nodes are told apart by what they have, and one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError, RunError
from distilmq.pipeline import Pipeline, RayPipeline
from distilmq.steps import LoadDataFromDicts, StepResources
from tests.integration import hosted_steps as samples
from tests.integration.hosts import until
from tests.servers.ray import ROOT, RayNodes, ray_cluster

ROWS = 40
DOUBLED = [2 * number for number in range(ROWS)]

SCRIPT = """
import sys
from distilmq.pipeline import Pipeline
from distilmq.steps import LoadDataFromDicts, StepResources
from tests.integration.test_ray import placed

pipeline = placed(sys.argv[1], special=1)
rows = pipeline.ray(sys.argv[2]).run()["default"]["train"]
print(sorted(set(rows["node"])), list(rows["doubled"]))
"""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def ray() -> Iterator[RayNodes]:
    with ray_cluster() as nodes:
        yield nodes


def placed(folder: Path | str, **resources: int) -> Pipeline:
    """Doubles numbers, a batch at a time, once `gate` is there; where there are certain resources."""
    with Pipeline("placed", cache_dir=f"{folder}/cache") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": number} for number in range(ROWS)], batch_size=5)
        load >> samples.Placed(
            name="double",
            input_batch_size=5,
            gate=f"{folder}/gate",
            begun=f"{folder}/begun",
            resources=StepResources(resources=resources),
        )
    return pipeline


def run_script(folder: Path, ray: RayNodes) -> subprocess.Popen[str]:
    """A user's script, in the background."""
    with (folder / "said").open("a") as said:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder), ray.address],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )


def test_ray_places_a_step_on_the_node_that_has_what_it_needs(ray: RayNodes, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    with ray.node(special=1) as node:
        pipeline = placed(tmp_path, special=1).ray(ray.address)

        rows = pipeline.run()["default"]["train"]
        again = pipeline.run()["default"]["train"]
        until(lambda: not ray.workers())
    last_run = pipeline.last_run
    assert last_run is not None

    assert isinstance(pipeline, RayPipeline)
    assert list(rows["doubled"]) == list(again["doubled"]) == DOUBLED
    assert set(rows["node"]) == {node}
    assert (tmp_path / "begun").read_text().split() == [str(number) for number in range(0, ROWS, 5)]
    assert last_run.outcome == "done"
    assert list(last_run.distiset()["default"]["train"]["doubled"]) == DOUBLED
    assert last_run.failures == []
    assert last_run.usage.total.requests == 0
    with pytest.raises(DistilmqUserError, match="are not computed again on Ray"):
        last_run.retry_failures()


def test_what_is_left_of_a_run_that_fails_can_be_read(ray: RayNodes, tmp_path: Path) -> None:
    with Pipeline("failing", cache_dir=tmp_path / "cache") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": number} for number in range(ROWS)], batch_size=5)
        load >> samples.Raising(name="count")
    on_ray = pipeline.ray(ray.address)

    with pytest.raises(RunError, match="it cannot count"):
        on_ray.run()
    left = on_ray.last_run

    assert left is not None
    assert left.outcome == "failed"
    assert left.failures == []
    assert len(left.distiset()["default"]["train"]) == 0


def test_a_run_goes_on_when_its_node_is_killed_and_another_one_comes(ray: RayNodes, tmp_path: Path) -> None:
    with ray.node(special=1) as first:
        script = run_script(tmp_path, ray)
        until(lambda: (tmp_path / "begun").exists())
        ray.kill(first)
    with ray.node(special=1) as second:
        (tmp_path / "gate").touch()
        out, _ = script.communicate(timeout=200)
        until(lambda: not ray.workers())

    assert out == f"{[second]} {DOUBLED}\n", (tmp_path / "said").read_text()


def test_no_actor_outlives_a_script_that_is_killed_and_the_next_one_goes_on(ray: RayNodes, tmp_path: Path) -> None:
    with ray.node(special=1) as node:
        script = run_script(tmp_path, ray)
        until(lambda: (tmp_path / "begun").exists())
        until(ray.workers)
        script.send_signal(signal.SIGKILL)
        script.communicate()
        until(lambda: not ray.workers())
        (tmp_path / "gate").touch()
        out, _ = run_script(tmp_path, ray).communicate(timeout=200)

    assert out == f"{[node]} {DOUBLED}\n", (tmp_path / "said").read_text()
    assert "Going on with run" in (tmp_path / "said").read_text()


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ray would look for it for some minutes.
    monkeypatch.setenv("RAY_NUM_REDIS_GET_RETRIES", "1")
    monkeypatch.setenv("RAY_gcs_rpc_server_connect_timeout_s", "2")
    monkeypatch.setenv("RAY_py_gcs_connect_timeout_s", "2")
    with pytest.raises(RunError, match=r"The Ray cluster at 127\.0\.0\.1:1 cannot be reached"):
        placed(tmp_path).ray("127.0.0.1:1").run()


def test_what_cannot_be_handed_to_ray_is_named(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match=r"`ray_init_kwargs\['logging_config'\]` goes to another process"):
        placed(tmp_path).ray(ray_init_kwargs={"logging_config": object()}).run()


def test_a_pipeline_on_ray_brings_its_own_broker(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match="distilmq launch autoscale ray"):
        placed(tmp_path).ray().run(broker="client.json")
