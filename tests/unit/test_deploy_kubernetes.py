"""`kubectl apply -k deploy/k8s` creates valid objects that run the same as Compose and the tests."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from services.fetcher.settings import FetcherSettings
from shared.settings import SERVICES, load
from tests.kustomize import Objects, deployed
from tools.devstack.downloads import MissingPrerequisite

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
K8S = ROOT / "deploy" / "k8s"
FOLDERS = {service: service.replace("_", "-") for service in SERVICES}
"""The folder of a service in deploy/k8s; the names of its objects and of its image end with it."""
TOPICS_CREATE = ["python", "-m", "tools.cli", "topics", "create"]


@pytest.fixture(scope="module")
def objects() -> Objects:
    """Returns what `kubectl apply -k deploy/k8s` creates; without the hash at the end of generated names."""
    try:
        return deployed(K8S)
    except MissingPrerequisite as missing:
        pytest.skip(str(missing))


def deployment(objects: Objects, service: str) -> dict[str, Any]:
    return objects[f"Deployment/pmflow-{FOLDERS[service]}"]


def container(objects: Objects, service: str) -> dict[str, Any]:
    (found,) = deployment(objects, service)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def job_container(objects: Objects) -> dict[str, Any]:
    (found,) = objects["Job/pmflow-topics"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_kubernetes_gets_a_deployment_for_every_service_and_the_job_of_the_topics(objects: Objects) -> None:
    deployments = {f"Deployment/pmflow-{folder}" for folder in FOLDERS.values()}
    others = {name for name in objects if not name.startswith("NetworkPolicy/")}
    assert others == {*deployments, "Job/pmflow-topics", "ConfigMap/pmflow"}


def test_every_object_in_kubernetes_is_valid(objects: Objects) -> None:
    for one in objects.values():
        kubernetes_validate.validate(one, "1.33", strict=True)


@pytest.mark.parametrize("file", ["base/deployment.yaml", "topics.yaml"])
def test_a_manifest_is_valid(file: str) -> None:
    kubernetes_validate.validate(yaml.safe_load((K8S / file).read_text()), "1.33", strict=True)


def test_the_manifest_check_can_fail() -> None:
    broken = yaml.safe_load((K8S / "base" / "deployment.yaml").read_text())
    broken["spec"]["replicaz"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.33", strict=True)


def test_kustomizations_name_every_manifest() -> None:
    for kustomization in sorted(K8S.glob("**/kustomization.yaml")):
        content = yaml.safe_load(kustomization.read_text())
        patches = [patch["path"] for patch in content.get("patches", []) if "path" in patch]
        generated = [file for one in content.get("configMapGenerator", []) for file in one["files"]]
        named = {(kustomization.parent / name).resolve() for name in [*content["resources"], *patches, *generated]}
        beside = {file for file in kustomization.parent.iterdir() if file != kustomization}
        assert named - {K8S / "base"} == beside - {K8S / "base"}
        assert kustomization.parent in {K8S, K8S / "base"} or named >= {K8S / "base"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_started_in_kubernetes_the_same_way_as_elsewhere(service: str, objects: Objects) -> None:
    assert container(objects, service)["command"] == COMPOSE[service]["command"]


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_is_root_in_kubernetes(service: str, objects: Objects) -> None:
    assert deployment(objects, service)["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize("service", SERVICES)
def test_a_deployment_selects_the_pods_of_its_service_only(service: str, objects: Objects) -> None:
    name = {"app.kubernetes.io/name": f"pmflow-{FOLDERS[service]}"}
    spec = deployment(objects, service)["spec"]
    assert spec["selector"] == {"matchLabels": name}
    assert spec["template"]["metadata"]["labels"] == {"app.kubernetes.io/part-of": "pmflow", **name}
    assert deployment(objects, service)["metadata"]["labels"] == spec["template"]["metadata"]["labels"]


def test_every_pod_in_kubernetes_reads_the_configuration_that_is_deployed_with_it(objects: Objects) -> None:
    configuration = objects["ConfigMap/pmflow"]
    assert configuration["data"] == {file: (K8S / file).read_text() for file in ("pmflow.yaml", "overlay.yaml")}
    for workload in (*(deployment(objects, service) for service in SERVICES), objects["Job/pmflow-topics"]):
        volumes = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}
        assert volumes["config"]["configMap"] == {"name": configuration["metadata"]["name"]}


def test_kubernetes_runs_the_images_that_compose_builds(objects: Objects) -> None:
    (first,) = deployment(objects, "tracker")["spec"]["template"]["spec"]["initContainers"]
    assert {service: container(objects, service)["image"] for service in SERVICES} == {
        service: COMPOSE[service]["image"] for service in SERVICES
    }
    assert job_container(objects)["image"] == first["image"] == COMPOSE["topics"]["image"]


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_and_health_are_served_at_the_ports_and_paths_that_are_probed(
    service: str, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PMFLOW_CONFIG", raising=False)
    served = [load((ROOT / "deploy" / where / "overlay.yaml",)).metrics for where in ("compose", "k8s")]
    ports = {metrics.port for metrics in served}
    assert {metrics.host for metrics in served} == {"0.0.0.0"}
    (port,) = container(objects, service)["ports"]
    assert ports == {port["containerPort"]} == set(map(int, COMPOSE[service]["expose"]))
    assert {
        probe: container(objects, service)[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")
    } == {
        "startup": {"path": "/startupz", "port": port["name"]},
        "readiness": {"path": "/readyz", "port": port["name"]},
        "liveness": {"path": "/healthz", "port": port["name"]},
    }
    assert {"name": "PMFLOW_HEALTH__FILE", "value": "/tmp/health"} in container(objects, service)["env"]


def test_a_job_creates_the_topics(objects: Objects) -> None:
    assert job_container(objects)["command"] == TOPICS_CREATE


def test_the_tracker_does_not_start_before_its_topics_even_if_the_job_is_late(objects: Objects) -> None:
    (first,) = deployment(objects, "tracker")["spec"]["template"]["spec"]["initContainers"]
    assert first["command"] == TOPICS_CREATE
    assert first["securityContext"] == container(objects, "tracker")["securityContext"]


def test_the_tracker_has_more_time_to_start_as_it_restores_its_tables(objects: Objects) -> None:
    attempts = {service: container(objects, service)["startupProbe"]["failureThreshold"] for service in SERVICES}
    assert attempts.pop("tracker") == 120
    assert set(attempts.values()) == {24}


def test_kubernetes_gets_the_users_yaml_unchanged() -> None:
    assert (K8S / "pmflow.yaml").read_text() == (ROOT / "deploy" / "pmflow.yaml").read_text()


def test_the_memory_limit_of_the_fetcher_in_kubernetes_follows_from_its_settings(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PMFLOW_CONFIG", raising=False)
    own = load((K8S / "pmflow.yaml", K8S / "overlay.yaml")).section("fetcher", FetcherSettings)
    limits = container(objects, "fetcher")["resources"]["limits"]
    assert limits["memory"] == f"{own.memory_mb(own.parsers or int(limits['cpu']))}Mi"
