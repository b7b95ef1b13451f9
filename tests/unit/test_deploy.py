"""No container engine here: what deploys is checked against schemas, and against what the tests run."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from shared.settings import SERVICES, load
from tools.cli.main import app
from tools.cli.run import command

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
K8S = ROOT / "deploy" / "k8s"
MANIFESTS = [file for file in sorted(K8S.glob("*.yaml")) if "apiVersion" in file.read_text()]
TOOLS_DOCKERFILE = (ROOT / "tools" / "Dockerfile").read_text()
TOPICS_CREATE = ["python", "-m", "tools.cli", "topics", "create"]
USERS_YAML = """
spring:
  pm:
    cron:
      schedule-scan: "50 */5 * * * *"
    immediate-run-delay: 10
    is-preprocessing-data: true
    is-auto-adding-column: true
zookeeper:
  connectionString: "localhost:2181"
4ga: {consumerThreads: 20, batchInsertCounter: true, isUsingClickhouse: true}
5ga: {consumerThreads: 15, batchInsertCounter: true, isUsingClickhouse: false}
"""
CHECK_SCHEMA = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]


def manifest(service: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((K8S / f"{service.replace('_', '-')}.yaml").read_text())
    return loaded


def container(service: str) -> dict[str, Any]:
    (found,) = manifest(service)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def dockerfile_of(service: str) -> str:
    return (ROOT / "services" / service / "Dockerfile").read_text()


def test_compose_is_valid() -> None:
    checked = subprocess.run([*CHECK_SCHEMA, str(ROOT / "compose.yaml")], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_compose_check_can_fail(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {imagee: x}}")
    checked = subprocess.run(
        [*CHECK_SCHEMA, str(tmp_path / "compose.yaml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 1
    assert "imagee" in checked.stdout


@pytest.mark.parametrize("file", [f for f in MANIFESTS if f.name != "kustomization.yaml"], ids=lambda f: f.name)
def test_a_manifest_is_valid(file: Path) -> None:
    kubernetes_validate.validate(yaml.safe_load(file.read_text()), "1.33", strict=True)


def test_the_manifest_check_can_fail() -> None:
    broken = manifest("scanner")
    broken["spec"]["replicaz"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.33", strict=True)


def test_kustomization_names_every_manifest() -> None:
    named = yaml.safe_load((K8S / "kustomization.yaml").read_text())["resources"]
    assert sorted([*named, "kustomization.yaml"]) == [file.name for file in MANIFESTS]


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_started_alike_everywhere(service: str) -> None:
    module = ["python", *command(service)[1:]]
    dockerfile = dockerfile_of(service)
    assert module == ["python", "-m", f"services.{service}"]
    assert COMPOSE[service]["command"] == module
    assert container(service)["command"] == module
    assert f"CMD {str(module).replace(chr(39), chr(34))}" in dockerfile


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_watched_and_not_root(service: str) -> None:
    dockerfile = dockerfile_of(service)
    health = ["python", "-m", "shared.health"]
    assert 'CMD ["python", "-m", "shared.health"]' in dockerfile
    assert COMPOSE[service]["healthcheck"]["test"] == ["CMD", *health]
    assert manifest(service)["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    assert not {"container_name", "ports"} & COMPOSE[service].keys()  # --scale


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_and_health_are_served_where_they_are_looked_for(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PMFLOW_CONFIG", raising=False)
    ports = {load((ROOT / "deploy" / where / "overlay.yaml",)).metrics.port for where in ("compose", "k8s")}
    (port,) = container(service)["ports"]
    assert ports == {port["containerPort"]} == set(map(int, COMPOSE[service]["expose"]))
    assert {
        probe: container(service)[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")
    } == {
        "startup": {"path": "/readyz", "port": port["name"]},
        "readiness": {"path": "/readyz", "port": port["name"]},
        "liveness": {"path": "/healthz", "port": port["name"]},
    }
    assert {"name": "PMFLOW_HEALTH__FILE", "value": "/tmp/health"} in container(service)["env"]


@pytest.mark.parametrize("service", [*SERVICES, "topics", "simulator"])
def test_no_image_of_ours_runs_as_root(service: str) -> None:
    built = COMPOSE[service]["build"]
    dockerfile = (ROOT / built["context"] / built["dockerfile"]).read_text()
    users = re.findall(r"^USER (.+)$", dockerfile.rpartition("\nFROM ")[2], re.MULTILINE)
    assert users == ["10001"]
    assert "user" not in COMPOSE[service]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_gets_the_shared_code_and_its_own_only(service: str) -> None:
    copied = re.findall(r"^COPY (?!--from)(.+)$", dockerfile_of(service), re.MULTILINE)
    assert copied == [
        f"requirements.lock services/{service}/pyproject.toml ./",
        "shared shared",
        f"services/{service} services/{service}",
    ]


@pytest.mark.parametrize("dockerfile", [*(f"services/{service}" for service in SERVICES), "tools"])
def test_libraries_of_an_image_are_those_of_the_lock_by_their_hashes(dockerfile: str) -> None:
    text = (ROOT / dockerfile / "Dockerfile").read_text()
    assert "-c requirements.lock" in text  # uv checks the hashes that a constraint has
    assert re.findall(r"pip install --no-cache-dir (.+)", text) == re.findall(
        r"pip install --no-cache-dir (.+)", TOOLS_DOCKERFILE
    )


def test_everything_else_in_compose_is_watched_too() -> None:
    assert {name for name, service in COMPOSE.items() if "healthcheck" not in service} == {"topics"}


def test_topics_are_made_before_the_services_start() -> None:
    assert COMPOSE["topics"]["command"] == ["topics", "create"]
    for service in SERVICES:
        assert COMPOSE[service]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}
    (job,) = yaml.safe_load((K8S / "topics.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    assert job["command"] == TOPICS_CREATE
    assert 'ENTRYPOINT ["python", "-m", "tools.cli"]' in TOOLS_DOCKERFILE


def test_the_tracker_does_not_start_before_its_topics_even_if_the_job_is_late() -> None:
    (first,) = manifest("tracker")["spec"]["template"]["spec"]["initContainers"]
    assert first["command"] == TOPICS_CREATE
    assert first["securityContext"] == container("tracker")["securityContext"]


@pytest.mark.parametrize("service", ["topics", "simulator"])
def test_the_command_line_understands_what_compose_asks_of_it(service: str) -> None:
    group = typer.main.get_command(app)
    name, *arguments = COMPOSE[service]["command"]
    assert group.get_command(group.make_context("pmflow", ["--help"], resilient_parsing=True), name)  # type: ignore[attr-defined]
    group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined] # raises on an unknown option


def test_compose_runs_the_kafka_and_the_zookeeper_of_the_dev_stack() -> None:
    pom = (ROOT / "tools" / "devstack" / "pom.xml").read_text()
    kafka = re.search(r"<artifactId>kafka-tools</artifactId><version>([\d.]+)<", pom)
    zookeeper = re.search(r"<artifactId>zookeeper</artifactId><version>(\d+\.\d+)", pom)
    assert kafka is not None
    assert zookeeper is not None
    assert COMPOSE["kafka"]["image"] == f"apache/kafka:{kafka[1]}"
    assert COMPOSE["zookeeper"]["image"] == f"zookeeper:{zookeeper[1]}"


def test_what_kafka_keeps_in_compose_is_on_its_volume() -> None:
    assert COMPOSE["kafka"]["volumes"] == [f"kafka:{COMPOSE['kafka']['environment']['KAFKA_LOG_DIRS']}"]
    assert COMPOSE["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_the_default_configuration_is_the_users_yaml() -> None:
    assert yaml.safe_load((ROOT / "deploy" / "pmflow.yaml").read_text()) == yaml.safe_load(USERS_YAML)


@pytest.mark.parametrize("overlay", ["deploy/compose/overlay.yaml", "deploy/k8s/overlay.yaml"])
def test_the_users_yaml_loads_with_each_overlay(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PMFLOW_CONFIG", raising=False)
    settings = load((ROOT / "deploy" / "pmflow.yaml", ROOT / overlay))
    assert [system.name for system in settings.systems] == ["4ga", "5ga"]
    assert all(system.inventory for system in settings.systems)
    assert settings.schedule.schedule_scan == "50 */5 * * * *"


def test_kubernetes_gets_the_users_yaml_unchanged() -> None:
    assert (K8S / "pmflow.yaml").read_text() == (ROOT / "deploy" / "pmflow.yaml").read_text()


def test_files_that_compose_mounts_exist() -> None:
    for service in COMPOSE.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).is_file(), volume


DISTRIBUTIONS = {
    "confluent_kafka": "confluent-kafka",
    "faust": "faust-streaming",
    "pymysql": "PyMySQL",
    "clickhouse_connect": "clickhouse-connect",
    "yaml": "PyYAML",
    "prometheus_client": "prometheus-client",
}
INDIRECT = {"aiokafka"}  # faust's client, named for its zstd


def foreign(module: Path, seen: set[Path]) -> set[str]:
    """Third-party packages a module imports, through the project's own ones too."""
    if module in seen:
        return set()
    seen.add(module)
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        for name in names:
            own = ROOT / f"{name.replace('.', '/')}.py"
            if own.exists():
                found |= foreign(own, seen)
            elif name.split(".")[0] not in sys.stdlib_module_names | {"shared", "services", "tools"}:
                found.add(name.split(".")[0])
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_declares_exactly_the_libraries_it_imports(service: str) -> None:
    imported = foreign(ROOT / "services" / service / "__main__.py", set())
    assert {DISTRIBUTIONS.get(name, name) for name in imported} == declared(service) - INDIRECT


def declared(service: str) -> set[str]:
    project = tomllib.loads((ROOT / "services" / service / "pyproject.toml").read_text())["project"]
    return {re.split(r"[\[><=]", dependency)[0] for dependency in project["dependencies"]}


def test_the_tools_image_has_every_library_the_command_line_imports() -> None:
    (install,) = re.findall(r"uv pip install(?:[^\n]|(?<=\\)\n)+", TOOLS_DOCKERFILE)
    services = {service for service in SERVICES if f"-r {service}/pyproject.toml" in install}
    installed = {*install.split(), *(name for service in services for name in declared(service))}
    imported = foreign(ROOT / "tools" / "cli" / "__main__.py", set())
    assert {DISTRIBUTIONS.get(name, name) for name in imported} <= installed
