"""Deployment files are checked against schemas, and against what the tests run, without a container engine."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from string import Template

import pytest
import typer
import yaml

from services.fetcher.settings import FetcherSettings
from shared.settings import SERVICES, load
from tools.cli.dev.run import service_command
from tools.cli.main import app

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
TOOLS_DOCKERFILE = (ROOT / "tools" / "Dockerfile").read_text()
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


DEV_SECRETS = "deploy/compose/secrets"


def dockerfile_of(service: str) -> str:
    """Returns the Dockerfile that compose builds the service from, with the build arguments filled in."""
    built = COMPOSE[service]["build"]
    text = (ROOT / built["context"] / built.get("dockerfile", "Dockerfile")).read_text()
    arguments = built.get("args", {})
    return re.sub(
        r"^(?:COPY|ENV) .+$", lambda line: Template(line[0]).safe_substitute(arguments), text, flags=re.MULTILINE
    )


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


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_started_the_same_way_everywhere(service: str) -> None:
    module = ["python", *service_command(service)[1:]]
    assert module == ["python", "-m", f"services.{service}"]
    assert COMPOSE[service]["command"] == module


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_starts_its_service_as_the_process_that_receives_signals(service: str, tmp_path: Path) -> None:
    """Runs the command of the image with a stand-in for the service that reports how it was started."""
    dockerfile = dockerfile_of(service)
    (cmd,) = re.findall(r"^CMD (.+)$", dockerfile, re.MULTILINE)
    (chosen,) = re.findall(r"^ENV .*\bSERVICE=(\S+)", dockerfile, re.MULTILINE)
    stand_in = tmp_path / "services" / service
    stand_in.mkdir(parents=True)
    for package in (stand_in.parent, stand_in):
        (package / "__init__.py").touch()  # found before the installed ones
    (stand_in / "__main__.py").write_text("import json, os, sys; print(json.dumps([os.getpid(), sys.orig_argv]))")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SERVICE": chosen}
    with subprocess.Popen(json.loads(cmd), cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as started:
        try:
            output, _ = started.communicate(timeout=30)
        finally:
            started.kill()
    assert json.loads(output) == [started.pid, COMPOSE[service]["command"]]


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_a_health_check_and_can_be_scaled(service: str) -> None:
    health = ["python", "-m", "shared.health"]
    assert 'CMD ["python", "-m", "shared.health"]' in dockerfile_of(service)
    assert COMPOSE[service]["healthcheck"]["test"] == ["CMD", *health]
    assert not {"container_name", "ports"} & COMPOSE[service].keys()  # --scale


def test_images_have_the_same_version_everywhere() -> None:
    version = COMPOSE["topics"]["image"].removeprefix("pmflow-tools:")
    for service in SERVICES:
        assert COMPOSE[service]["image"] == f"pmflow-{service.replace('_', '-')}:{version}"
    texts = [(ROOT / file).read_text() for file in ("docs/operations.md", "Dockerfile", "tools/Dockerfile")]
    assert {tag for text in texts for tag in re.findall(r"pmflow-[\w-]+:(\d[\w.]*)", text)} == {version}


@pytest.mark.parametrize("service", [*SERVICES, "topics", "simulator"])
def test_no_image_of_ours_runs_as_root(service: str) -> None:
    users = re.findall(r"^USER (.+)$", dockerfile_of(service).rpartition("\nFROM ")[2], re.MULTILINE)
    assert users == ["10001"]
    assert "user" not in COMPOSE[service]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_gets_the_shared_code_and_its_own_only(service: str) -> None:
    copied = re.findall(r"^COPY (?!--from)(.+)$", dockerfile_of(service), re.MULTILINE)
    assert copied == [
        "tools/setup/uv.lock ./",
        f"requirements.lock services/{service}/pyproject.toml ./",
        "shared shared",
        f"services/{service} services/{service}",
    ]


def test_a_stage_declares_the_build_argument_before_it_uses_it() -> None:
    for stage in re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]:
        before, _, _ = re.split(r"(\$\{?SERVICE)", stage, maxsplit=1)
        assert "\nARG SERVICE\n" in before


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "tools/Dockerfile"])
def test_the_libraries_of_an_image_are_the_locked_ones_with_their_hashes(dockerfile: str) -> None:
    text = (ROOT / dockerfile).read_text()
    installs = re.findall(r"\bpip install (?:[^\n]|(?<=\\)\n)+", text)
    assert len(installs) == 2  # uv, and by it the libraries
    assert all("--require-hashes" in install for install in installs)
    assert "-r uv.lock" in installs[0]
    assert "-c requirements.lock" in installs[1]  # uv checks the hashes that a constraint has


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "tools/Dockerfile"])
def test_the_base_of_an_image_can_be_named_by_its_digest(dockerfile: str) -> None:
    text = (ROOT / dockerfile).read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases == ["${PYTHON_IMAGE}"] * 2
    declared_before = text[: text.index("\nFROM ")]
    assert "\nARG PYTHON_IMAGE=python:3.11-slim\n" in declared_before


def test_topics_are_created_before_the_services_start() -> None:
    assert COMPOSE["topics"]["command"] == ["topics", "create"]
    for service in SERVICES:
        assert COMPOSE[service]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}
    assert 'ENTRYPOINT ["python", "-m", "tools.cli"]' in TOOLS_DOCKERFILE


def test_everything_else_in_compose_has_a_health_check_too() -> None:
    assert {name for name, service in COMPOSE.items() if "healthcheck" not in service} == {"topics", "operator"}


@pytest.mark.parametrize("service", ["topics", "simulator"])
def test_the_command_line_accepts_the_commands_in_compose(service: str) -> None:
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


def test_kafkas_data_in_compose_is_on_its_volume() -> None:
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


def test_the_memory_limit_of_the_fetcher_in_compose_follows_from_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PMFLOW_CONFIG", raising=False)
    own = load((ROOT / "deploy" / "pmflow.yaml", ROOT / "deploy/compose/overlay.yaml")).section(
        "fetcher", FetcherSettings
    )
    parsers = own.parsers or COMPOSE["fetcher"]["cpus"]
    assert COMPOSE["fetcher"]["mem_limit"] == f"{own.memory_mb(parsers)}m"


def test_files_that_compose_mounts_exist() -> None:
    for service in COMPOSE.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).is_file(), volume
    for secret in yaml.safe_load((ROOT / "compose.yaml").read_text())["secrets"].values():
        assert (ROOT / secret["file"].replace("${PMFLOW_SECRETS:-./deploy/compose/secrets}", DEV_SECRETS)).is_file()


DISTRIBUTIONS = {
    "confluent_kafka": "confluent-kafka",
    "faust": "faust-streaming",
    "pymysql": "PyMySQL",
    "clickhouse_connect": "clickhouse-connect",
    "yaml": "PyYAML",
    "prometheus_client": "prometheus-client",
}


def foreign(module: Path, seen: set[Path]) -> set[str]:
    """Returns the third-party packages that a module imports, directly or through the project's own modules."""
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
    assert {DISTRIBUTIONS.get(name, name) for name in imported} == declared(service)


def declared(service: str) -> set[str]:
    """Returns the libraries of a service, or of the tools."""
    folder = ROOT / "tools" if service == "tools" else ROOT / "services" / service
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return {re.split(r"[\[><=]", dependency)[0] for dependency in project["dependencies"]}


def test_the_tools_image_has_every_library_the_command_line_imports() -> None:
    (install,) = re.findall(r"uv pip install(?:[^\n]|(?<=\\)\n)+", TOOLS_DOCKERFILE)
    folders = re.findall(r"-r (\w+)/pyproject.toml", install)
    assert "tools" in folders
    installed = {name for folder in folders for name in declared(folder)}
    imported = foreign(ROOT / "tools" / "cli" / "__main__.py", set())
    assert {DISTRIBUTIONS.get(name, name) for name in imported} <= installed
