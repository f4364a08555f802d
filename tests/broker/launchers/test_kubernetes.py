"""Manifests are what Kubernetes takes, by its own schemas."""

from __future__ import annotations

import json
import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from distilmq_broker.launchers.kubernetes import (
    CONNECTION,
    BrokerSet,
    Manifest,
    WorkerJob,
    as_yaml,
    broker_manifests,
    worker_manifests,
)
from distilmq_broker.launchers.worker_command import Size, WorkerCommand

DOCKERFILE = Path(__file__).parents[3] / "deploy" / "images" / "Dockerfile"
SIZE = Size(cpus=8, gpus=2, memory="64G")
BROKER = broker_manifests(BrokerSet("image", "ours"))
WORKERS = worker_manifests(
    WorkerJob(WorkerCommand("distilmq", CONNECTION, size=SIZE), SIZE, 4, "image", "ours", '{"endpoint": "tcp://b:1"}')
)
ALL = [pytest.param(manifest, id=manifest["kind"]) for manifest in BROKER + WORKERS]


def pod_of(manifest: Manifest) -> Manifest:
    """What it says of its pods."""
    return manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", ["1.31", "1.33"])
@pytest.mark.parametrize("manifest", ALL)
def test_each_object_is_valid_in_every_field(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_check_of_manifests_knows_a_wrong_one() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**WORKERS[1], "spec": {"paralellism": 1}}, "1.33", strict=True)


@pytest.mark.parametrize("manifest", ALL)
def test_all_of_it_is_in_the_namespace(manifest: Manifest) -> None:
    assert manifest["metadata"]["namespace"] == "ours"


def test_what_is_printed_is_what_was_made() -> None:
    assert list(yaml.safe_load_all(as_yaml(BROKER + WORKERS))) == BROKER + WORKERS


def test_a_pod_gets_what_its_worker_is_told() -> None:
    (container,) = pod_of(WORKERS[1])["containers"]

    assert container["resources"] == {
        "requests": {"cpu": "8", "memory": "64Gi"},
        "limits": {"memory": "64Gi", "nvidia.com/gpu": "2"},
    }
    assert container["args"][-6:] == ["--slots", "8", "--memory", "64G", "--name", "$(POD_NAME)"]


def test_the_key_is_where_the_worker_looks_for_it() -> None:
    secret, job = WORKERS
    (volume,), (container,) = pod_of(job)["volumes"], pod_of(job)["containers"]
    (mount,) = container["volumeMounts"]
    (file,) = secret["stringData"]

    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    assert f"{mount['mountPath']}/{file}" == CONNECTION
    assert json.loads(secret["stringData"][file]) == {"endpoint": "tcp://b:1"}


def test_workers_look_for_the_broker_under_the_name_of_its_service() -> None:
    service, broker = BROKER
    (container,) = pod_of(broker)["containers"]

    host = container["args"][container["args"].index("--host") + 1]
    assert host == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert service["spec"]["selector"] == broker["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("manifest", [BROKER[1], WORKERS[1]], ids=["broker", "worker"])
def test_pods_run_as_the_user_of_the_image(manifest: Manifest) -> None:
    user = re.search(r"^USER (\d+)", DOCKERFILE.read_text(), re.M)

    assert user is not None
    assert pod_of(manifest)["securityContext"]["runAsUser"] == int(user[1])
