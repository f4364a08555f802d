"""What is asked of kubectl for a worker: a stand-in for it writes down its words and its input. No cluster is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from distilmq_broker.launchers.kubernetes import CONNECTION, WorkerJob
from distilmq_broker.launchers.worker_command import Size
from distilmq_broker.scaling.launching.flavor import Flavor
from distilmq_broker.scaling.launching.kubernetes import KubernetesWorkers

SCRIPT = """#!/bin/sh
echo "$@" >> {folder}/words
case "$3" in
  apply) cat > {folder}/input; test ! -e {folder}/refused || {{ echo forbidden >&2; exit 1; }};;
  get) printf 'auto-1 \\nauto-2 Complete\\nauto-3 Failed\\n';;
esac
"""


@pytest.fixture
def workers(tmp_path: Path) -> KubernetesWorkers:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(SCRIPT.format(folder=tmp_path))
    kubectl.chmod(0o700)
    flavor = Flavor(Size(2, 1, "4G"), {"license": 1}, {"zone": "eu"})
    command = flavor.command("distilmq", CONNECTION)
    job = WorkerJob(command, flavor.size, 1, "image", "lab", "{}", kept=60)
    return KubernetesWorkers(flavor, job, kubectl=[str(kubectl)])


def test_a_worker_is_a_job_of_its_own_name(workers: KubernetesWorkers, tmp_path: Path) -> None:
    failure = workers.start("auto-1", workers._flavor.kind)

    manifests: list[dict[str, Any]] = list(yaml.safe_load_all((tmp_path / "input").read_text()))
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.33", strict=True)
    secret, job = manifests
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert failure == ""
    assert (tmp_path / "words").read_text() == "--namespace lab apply -f -\n"
    assert secret["metadata"]["name"] == "distilmq-worker"
    assert (job["metadata"]["name"], job["spec"]["ttlSecondsAfterFinished"]) == ("auto-1", 60)
    assert container["args"] == [
        *("worker", "--connect", CONNECTION, "--slots", "2", "--memory", "4G"),
        *("--resources=license=1", "--labels=zone=eu", "--name", "$(POD_NAME)"),
    ]


def test_one_that_cannot_be_made_is_told(workers: KubernetesWorkers, tmp_path: Path) -> None:
    (tmp_path / "refused").touch()

    assert workers.start("auto-1", workers._flavor.kind) == "forbidden"


def test_jobs_that_are_over_or_not_there_have_ended(workers: KubernetesWorkers) -> None:
    ended = workers.ended(["auto-1", "auto-2", "auto-3", "auto-4"])

    assert list(ended) == ["auto-2", "auto-3", "auto-4"]
    assert ended["auto-3"] == "its Job is over: `kubectl logs job/auto-3` says why"


def test_one_that_is_not_wanted_any_more_is_deleted(workers: KubernetesWorkers, tmp_path: Path) -> None:
    workers.cancel("auto-1")

    words = "--namespace lab delete job auto-1 --ignore-not-found --wait=false\n"
    assert (tmp_path / "words").read_text() == words
