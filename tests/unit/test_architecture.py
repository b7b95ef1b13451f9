"""The rules of the tree."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import topics
from shared.settings import SERVICES

ROOT = Path(__file__).parents[2]
ADAPTERS = {
    "paramiko": "shared/remote/sftp.py",
    "ftplib": "shared/remote/ftp.py",
    "confluent_kafka": "shared/kafka.py",
    "dynaconf": "shared/configuration/layers.py",
    "kazoo": "services/scanner/leader.py",
    "pymysql": "services/mysql_writer/connection.py",
    "clickhouse_connect": "services/ch_bridge/connection.py",
    "prometheus_client": "shared/metrics.py",
    "faust": "services/tracker/app.py services/tracker/__main__.py",
}
AT_MOST_LINES = {"shared": 1850, "configuration": 330, "remote": 1700, "sinks": 750}
"""Of what services share: the contract, elements on the other side of a line, what both sinks must keep alike."""


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (ROOT / folder).rglob("*.py")


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other_service_and_no_tool(service: str) -> None:
    others = tuple(f"services.{name}" for name in SERVICES if name != service)
    for file in sources(f"services/{service}"):
        assert not {i for i in imports(file) if i.startswith((*others, "tools"))}, file


def test_shared_imports_no_service_and_no_tool() -> None:
    for file in sources("shared"):
        assert not {i for i in imports(file) if i.startswith(("services", "tools"))}, file


@pytest.mark.parametrize(("client", "adapters"), ADAPTERS.items())
def test_only_its_adapter_imports_a_foreign_client(client: str, adapters: str) -> None:
    importers = {
        str(file.relative_to(ROOT))
        for file in sources("shared", "services")
        if any(re.match(rf"{client}(\.|$)", name) for name in imports(file))
    }
    assert importers == set(adapters.split())


def test_every_topic_names_services_that_exist() -> None:
    for topic in topics.provisioned(["4ga"]):
        assert {*topic.writers, *topic.readers} <= {*SERVICES, "operator"}, topic.name


def test_there_is_no_code_in_any_init_and_none_in_the_folder_of_services() -> None:
    assert not (ROOT / "services" / "__init__.py").exists()
    for file in sources("shared", "services", "tools"):
        if file.name == "__init__.py":
            assert all(isinstance(node, ast.Expr) for node in ast.parse(file.read_text()).body), file


def test_what_services_share_stays_small() -> None:
    lines: Counter[str] = Counter()
    for file in sources("shared"):
        lines[file.parent.name] += len(file.read_text().splitlines())
    assert lines <= Counter(AT_MOST_LINES), lines
