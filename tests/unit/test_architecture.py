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
    "paramiko": "shared/remote/sftp.py shared/remote/known_hosts.py",
    "ftplib": "shared/remote/ftp.py shared/remote/ftp_client.py shared/remote/ftp_listing.py",
    "confluent_kafka": "shared/kafka/admin.py shared/kafka/cluster.py shared/kafka/co_partitioned.py "
    "shared/kafka/consume.py "
    "shared/kafka/permissions.py shared/kafka/produce.py shared/kafka/reach.py",
    "dynaconf": "shared/configuration/layers.py",
    "kazoo": "services/scanner/leader.py services/scanner/zookeeper.py",
    "pymysql": "services/mysql_writer/connection.py",
    "clickhouse_connect": "services/ch_bridge/connection.py",
    "prometheus_client": "shared/metrics.py shared/remote/metrics.py",
    "faust": "services/tracker/app.py services/tracker/credentials.py services/tracker/ledger_consumer.py "
    "services/tracker/wiring.py",
}
FETCHER_ORDER = (
    "reasons", "settings", "metrics",
    "parse.bad_file", "parse.block", "parse.text", "parse.unpack", "parse.values", "parse.tables", "parse.xml",
    "parse.blocks", "rows", "preprocess", "assemble", "parse_pool", "publish", "settle", "elements", "history",
    "intake", "download", "reports", "worker", "wiring", "__main__", "operate",
)  # fmt: skip
"""The fetcher's modules and folders: each imports only those before it."""
AT_MOST_LINES = {"shared": 2290, "configuration": 810, "kafka": 1480, "remote": 3380, "sinks": 2000}
"""Lines of code that services share, by folder; a limit for each keeps `shared/` from growing."""


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


def modules_imported(file: Path, package: str) -> Iterator[str]:
    """Modules of a package, named from it: `from package.a import b` is a.b where that is a module."""
    folder = ROOT / package.replace(".", "/")
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{package}."):
            inside = (node.module or "").removeprefix(package).strip(".")
            for name in node.names:
                module = f"{inside}.{name.name}".strip(".")
                yield module if (folder / f"{module.replace('.', '/')}.py").exists() else inside


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other_service_and_no_tool(service: str) -> None:
    others = tuple(f"services.{name}" for name in SERVICES if name != service)
    for file in sources(f"services/{service}"):
        assert not {i for i in imports(file) if i.startswith((*others, "tools"))}, file


def fetcher_rank(module: str) -> int:
    return next(at for at, room in enumerate(FETCHER_ORDER) if module == room or module.startswith(f"{room}."))


def test_nothing_imports_upwards_in_the_fetcher() -> None:
    folder = ROOT / "services/fetcher"
    for file in folder.rglob("*.py"):
        if file.name == "__init__.py":
            continue
        rank = fetcher_rank(".".join(file.relative_to(folder).with_suffix("").parts))
        for found in modules_imported(file, "services.fetcher"):
            assert fetcher_rank(found) <= rank, f"{file} imports {found}"


def test_shared_imports_no_service_and_no_tool() -> None:
    for file in sources("shared"):
        assert not {i for i in imports(file) if i.startswith(("services", "tools"))}, file


@pytest.mark.parametrize("service", SERVICES)
def test_tools_import_of_a_service_only_what_it_offers_to_operators(service: str) -> None:
    for file in sources("tools"):
        for name in imports(file):
            if name.startswith(f"services.{service}"):
                assert name == f"services.{service}.operate", file


@pytest.mark.parametrize(("client", "adapters"), ADAPTERS.items())
def test_only_its_adapter_imports_a_foreign_client(client: str, adapters: str) -> None:
    importers = {
        str(file.relative_to(ROOT))
        for file in sources("shared", "services")
        if any(re.match(rf"{client}(\.|$)", name) for name in imports(file))
    }
    assert importers == set(adapters.split())


def test_kafkas_client_library_stays_within_its_package_and_the_tests_of_that() -> None:
    for file in sources("services", "shared", "tools", "bench", "tests"):
        if "shared/kafka" not in str(file.relative_to(ROOT)):
            assert not {i for i in imports(file) if i.startswith("confluent_kafka")}, file


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


def test_commands_print_through_one_module_that_makes_text_harmless() -> None:
    for file in sources("tools/cli"):
        if file.name != "output.py":
            assert not imports(file) & {"rich.table", "rich.markup"}, file
            for node in ast.walk(ast.parse(file.read_text())):
                name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                assert name not in {"typer.echo", "print", "click.echo", "Console", "Table"}, f"{file}: {name}"
