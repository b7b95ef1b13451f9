"""Each pod and container of ours gets only the secrets, and reaches only the servers, that its service uses."""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from shared.configuration.secret_files import secret_files
from shared.inventory import PROTOCOL_PORTS
from shared.settings import SERVICES, Settings, load
from tests.go_programs import built
from tests.kustomize import Objects, deployed
from tools.cli.dev.docs import OWN_SECTIONS
from tools.cli.topics import kafka_user
from tools.devstack.downloads import MissingPrerequisite

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
KAFKA_CA = {"pmflow-kafka-ca": "/run/secrets/kafka-ca"}
INVENTORY = {"pmflow-inventory": "/etc/pmflow-inventory"}
ELEMENTS = {"pmflow-elements": "/run/secrets/elements"}
MOUNTED = {
    "scanner": {**INVENTORY, **ELEMENTS},
    "fetcher": {**INVENTORY, **ELEMENTS},
    "mysql-writer": {"pmflow-mysql": "/run/secrets/mysql"},
    "ch-bridge": {"pmflow-clickhouse": "/run/secrets/clickhouse"},
    "tracker": INVENTORY,
    "topics": {},
}
"""Secrets of each workload and the directories where it finds them, besides its own login to Kafka."""
REACHED = {
    "scanner": {"kafka", "zookeeper", "elements"},
    "fetcher": {"kafka", "elements"},
    "mysql-writer": {"kafka", "mysql"},
    "ch-bridge": {"kafka", "clickhouse"},
    "tracker": {"kafka"},
    "topics": {"kafka"},
}
"""Servers that each workload connects to."""
OWN_LOGIN = {workload: "operator" if workload == "topics" else workload for workload in MOUNTED}
DNS = {("kube-system", "UDP", 53), ("kube-system", "TCP", 53)}


@pytest.fixture(scope="module")
def objects() -> Objects:
    """Returns what `kubectl apply -k deploy/k8s` creates."""
    try:
        return deployed(K8S)
    except MissingPrerequisite as missing:
        pytest.skip(str(missing))


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Returns the configuration that is deployed to Kubernetes."""
    monkeypatch.delenv("PMFLOW_CONFIG", raising=False)
    return load((K8S / "pmflow.yaml", K8S / "overlay.yaml"))


def pod(objects: Objects, workload: str) -> dict[str, Any]:
    """Returns the template of a workload's pods."""
    kind = "Job" if workload == "topics" else "Deployment"
    return dict(objects[f"{kind}/pmflow-{workload}"]["spec"]["template"])


def containers(template: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (*template["spec"].get("initContainers", ()), *template["spec"]["containers"])


def mounts(template: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, str]:
    """Returns the Secrets that a container mounts, and where."""
    secrets = {one["name"]: one["secret"]["secretName"] for one in template["spec"]["volumes"] if "secret" in one}
    return {
        secrets[one["name"]]: one["mountPath"] for one in container["volumeMounts"] if one["name"] in secrets
    }  # fmt: skip


def test_every_workload_is_among_those_tested(objects: Objects) -> None:
    names = {name.partition("/pmflow-")[2] for name in objects if name.startswith(("Deployment/", "Job/"))}
    assert names == MOUNTED.keys() == REACHED.keys()
    assert {service.replace("_", "-") for service in SERVICES} == names - {"topics"}


@pytest.mark.parametrize("workload", MOUNTED)
def test_a_container_mounts_its_own_secrets_only(workload: str, objects: Objects) -> None:
    template = pod(objects, workload)
    *first, last = containers(template)
    own_login = {f"pmflow-{OWN_LOGIN[workload]}": "/run/secrets/kafka"}
    assert mounts(template, last) == {**own_login, **KAFKA_CA, **MOUNTED[workload]}
    assert [mounts(template, one) for one in first] == (
        [{"pmflow-operator": "/run/secrets/kafka", **KAFKA_CA}] if workload == "tracker" else []
    )


@pytest.mark.parametrize("workload", MOUNTED)
def test_secrets_are_files_that_only_the_services_group_may_read_and_no_variables(
    workload: str, objects: Objects
) -> None:
    template = pod(objects, workload)
    for volume in template["spec"]["volumes"]:
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440
    for container in containers(template):
        assert "envFrom" not in container
        assert not any("secretKeyRef" in one.get("valueFrom", {}) for one in container["env"])
        assert all(one["readOnly"] for one in container["volumeMounts"] if one["name"] != "tmp")
    assert template["spec"]["securityContext"]["fsGroup"] == 10001
    assert template["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("workload", MOUNTED)
def test_a_workload_logs_in_to_kafka_as_a_user_of_its_own_whose_secret_it_mounts(
    workload: str, objects: Objects
) -> None:
    template = pod(objects, workload)
    *_, last = containers(template)
    (username,) = [one for one in last["env"] if one["name"] == "PMFLOW_KAFKA__USERNAME"]
    label = username.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
    assert label in {None, "metadata.labels['app.kubernetes.io/name']"}
    user = template["metadata"]["labels"]["app.kubernetes.io/name"] if label else username["value"]
    principal = OWN_LOGIN[workload].replace("-", "_")
    assert user == kafka_user(principal, "pmflow-", "kafka")["metadata"]["name"] == f"pmflow-{OWN_LOGIN[workload]}"


def test_the_files_that_the_settings_name_are_mounted_where_they_are_used_and_nowhere_else(
    objects: Objects, settings: Settings
) -> None:
    users = {"mysql": "mysql-writer", "clickhouse": "ch-bridge"}
    for section, user in users.items():
        (file,) = secret_files(settings.section(section, OWN_SECTIONS[section]))
        found = {
            workload
            for workload in MOUNTED
            for container in containers(pod(objects, workload))
            if str(Path(file).parent) in mounts(pod(objects, workload), container).values()
        }
        assert found == {user}
    assert secret_files(settings.kafka) == set()  # a login is the operator's choice


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tells whether a selector of Kubernetes selects a pod with these labels."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", [])
    assert {one["operator"] for one in expressions} <= {"In"}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(one["key"]) in one["values"] for one in expressions
    )


def policies(objects: Objects, labels: Mapping[str, str], direction: str) -> list[dict[str, Any]]:
    """Returns the specifications of the policies that restrict pods with these labels."""
    found = [one["spec"] for name, one in objects.items() if name.startswith("NetworkPolicy/")]
    return [
        spec for spec in found if direction in spec["policyTypes"] and matches(spec["podSelector"], labels)
    ]  # fmt: skip


def allowed(objects: Objects, labels: Mapping[str, str]) -> set[tuple[str, str, int]]:
    """Returns what pods with these labels may connect to: namespace, protocol and port."""
    found = set()
    for spec in policies(objects, labels, "Egress"):
        for rule in spec.get("egress", []):
            (where,) = rule.get("to", [{}])
            namespace = where.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name", "")
            found |= {(namespace, port["protocol"], port["port"]) for port in rule["ports"]}
    return found


def ports(settings: Settings) -> dict[str, set[int]]:
    """Returns the ports of the servers that the settings name."""
    sections: dict[str, Any] = {name: settings.section(name, cls) for name, cls in OWN_SECTIONS.items()}

    def of(servers: str) -> set[int]:
        return {int(server.rpartition(":")[2]) for server in servers.split(",")}

    return {
        "kafka": of(settings.kafka.bootstrap_servers),
        "zookeeper": of(sections["zookeeper"].connection_string),
        "mysql": {sections["mysql"].port},
        "clickhouse": {urlsplit(sections["clickhouse"].url).port or 0},
        "elements": {PROTOCOL_PORTS["sftp"]},
    }


@pytest.mark.parametrize("workload", REACHED)
def test_a_pod_may_connect_to_the_servers_that_its_service_uses_and_to_nothing_else(
    workload: str, objects: Objects, settings: Settings
) -> None:
    wanted = {("", "TCP", port) for server in REACHED[workload] for port in ports(settings)[server]}
    assert allowed(objects, pod(objects, workload)["metadata"]["labels"]) == wanted | DNS


@pytest.mark.parametrize("workload", REACHED)
def test_only_prometheus_may_connect_to_a_pod_and_only_to_its_metrics(workload: str, objects: Objects) -> None:
    found = policies(objects, pod(objects, workload)["metadata"]["labels"], "Ingress")
    (rule,) = [rule for spec in found for rule in spec.get("ingress", [])]
    prometheus = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}, "namespaceSelector": {}}
    assert rule == {"from": [prometheus], "ports": [{"protocol": "TCP", "port": "metrics"}]}
    assert [spec for spec in found if "ingress" not in spec]  # the one that denies everything


def test_a_pod_that_is_not_ours_is_not_restricted(objects: Objects) -> None:
    others = {"app.kubernetes.io/part-of": "other", "app.kubernetes.io/name": "pmflow"}
    assert policies(objects, others, "Egress") == policies(objects, others, "Ingress") == []


def test_the_policies_are_valid() -> None:
    for one in yaml.safe_load_all((K8S / "network.yaml").read_text()):
        kubernetes_validate.validate(one, "1.33", strict=True)


def test_a_login_is_named_in_messages_only_where_it_is_used(settings: Settings) -> None:
    named = replace(settings.kafka, username="pmflow-fetcher")
    assert named.principal == "an anonymous client"
    secured = replace(named, security_protocol="sasl_ssl", sasl_mechanism="SCRAM-SHA-512", password="x")
    assert secured.principal == "user 'pmflow-fetcher'"


COMPOSE_LOADER = ("github.com/compose-spec/compose-go/v2/cmd", "v2.16.2")
"""The loader that `docker compose` uses."""
SERVERS = ("kafka", "zookeeper", "mysql", "clickhouse")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Returns compose.yaml as `docker compose` reads it."""
    try:
        program = built(*COMPOSE_LOADER)
    except MissingPrerequisite as missing:
        pytest.skip(str(missing))
    argv = [str(program), str(ROOT / "compose.yaml")]
    rendered = subprocess.run(argv, env={}, capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return dict(yaml.safe_load(rendered.stdout))


def secrets_of(service: Mapping[str, Any]) -> set[str]:
    """Returns the secrets of a service; each is a file of its name in /run/secrets."""
    assert all(one.get("target", "").rpartition("/")[2] in {"", one["source"]} for one in service.get("secrets", ()))
    return {one["source"] for one in service.get("secrets", ())}


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_of_compose_is_in_the_networks_of_the_servers_that_it_uses(
    service: str, compose: dict[str, Any]
) -> None:
    assert set(compose["services"][service]["networks"]) == REACHED[service.replace("_", "-")]
    before = compose["services"][service]["depends_on"].keys()
    assert before & {"kafka", "zookeeper", "mysql", "clickhouse"} == REACHED[service.replace("_", "-")] - {
        "kafka",  # its topics
        "elements",
    }


def test_a_network_of_compose_has_one_server_and_leads_out_for_elements_only(compose: dict[str, Any]) -> None:
    for network, options in compose["networks"].items():
        members = {name for name, one in compose["services"].items() if network in one["networks"]}
        server = "simulator" if network == "elements" else network
        assert members & {*SERVERS, "simulator"} == {server}
        assert options.get("internal", False) == (network != "elements")
    assert all("ports" not in one for one in compose["services"].values())


def test_a_secret_of_compose_is_a_file_in_the_server_and_the_service_that_use_it(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PMFLOW_CONFIG", raising=False)
    settings = load((ROOT / "deploy" / "pmflow.yaml", ROOT / "deploy" / "compose" / "overlay.yaml"))
    for section, user in (("mysql", "mysql_writer"), ("clickhouse", "ch_bridge")):
        (file,) = secret_files(settings.section(section, OWN_SECTIONS[section]))
        assert file == f"/run/secrets/{section}-password"
        having = {name for name, one in compose["services"].items() if Path(file).name in secrets_of(one)}
        assert having == {section, user, "operator"}
        environment = compose["services"][section]["environment"]
        assert environment[f"{section.upper()}_PASSWORD_FILE"] == file
    assert compose["services"]["operator"]["profiles"] == ["operator"]  # not started by `up`


def test_no_variable_of_compose_is_a_secret(compose: dict[str, Any]) -> None:
    for one in compose["services"].values():
        assert not {name for name in one.get("environment", {}) if name.endswith(("PASSWORD", "SECRET", "TOKEN"))} - {
            "MYSQL_RANDOM_ROOT_PASSWORD"  # "yes": one that nobody knows
        }


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_of_compose_gets_the_elements_only_if_its_service_uses_them(
    service: str, compose: dict[str, Any]
) -> None:
    has_elements = any(volume["source"] == "simulator" for volume in compose["services"][service]["volumes"])
    assert has_elements == (INVENTORY.items() <= MOUNTED[service.replace("_", "-")].items())


@pytest.mark.parametrize("name", [*SERVICES, "topics", "operator", "simulator"])
def test_no_container_of_ours_in_compose_has_or_gets_rights_of_root(name: str, compose: dict[str, Any]) -> None:
    assert compose["services"][name]["cap_drop"] == ["ALL"]
    assert compose["services"][name]["security_opt"] == ["no-new-privileges:true"]
