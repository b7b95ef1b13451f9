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
import yaml

from shared.settings import SERVICES, load
from tools.cli.run import command

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
K8S = ROOT / "deploy" / "k8s"
MANIFESTS = [file for file in sorted(K8S.glob("*.yaml")) if "apiVersion" in file.read_text()]
CHECK_SCHEMA = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]


def manifest(service: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((K8S / f"{service.replace('_', '-')}.yaml").read_text())
    return loaded


def container(service: str) -> dict[str, Any]:
    (found,) = manifest(service)["spec"]["template"]["spec"]["containers"]
    return dict(found)


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
    dockerfile = (ROOT / "services" / service / "Dockerfile").read_text()
    assert module == ["python", "-m", f"services.{service}"]
    assert COMPOSE[service]["command"] == module
    assert container(service)["command"] == module
    assert f"CMD {str(module).replace(chr(39), chr(34))}" in dockerfile


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_watched_and_not_root(service: str) -> None:
    dockerfile = (ROOT / "services" / service / "Dockerfile").read_text()
    health = ["python", "-m", "shared.health"]
    assert COMPOSE[service]["healthcheck"]["test"] == ["CMD", *health]
    assert container(service)["livenessProbe"]["exec"]["command"] == health
    assert manifest(service)["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    assert re.search(r"^USER [1-9]\d+$", dockerfile, re.MULTILINE)
    assert "container_name" not in COMPOSE[service]  # --scale
    assert "ports" not in COMPOSE[service]


def test_everything_else_in_compose_is_watched_too() -> None:
    assert {name for name, service in COMPOSE.items() if "healthcheck" not in service} == {"topics"}


def test_topics_are_made_before_the_services_start() -> None:
    assert COMPOSE["topics"]["command"] == ["topics", "create"]
    for service in SERVICES:
        assert COMPOSE[service]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}
    (job,) = yaml.safe_load((K8S / "topics.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    assert job["command"] == ["python", "-m", "tools.cli", "topics", "create"]


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
}


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
    folder = ROOT / "services" / service
    imported = foreign(folder / "__main__.py", set())
    declared = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[><=]", dependency)[0] for dependency in declared}
    indirect = {"aiokafka"}  # faust's client, named for its zstd
    assert {DISTRIBUTIONS.get(name, name) for name in imported} == names - indirect
