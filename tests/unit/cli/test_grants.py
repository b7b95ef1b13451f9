"""`pmflow grants`: privileges derived from the statements in the code, and the statements that grant them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.ch_bridge import grants as clickhouse
from services.mysql_writer import grants as mysql
from tests.unit.test_house import is_docstring
from tools.cli.main import app

ROOT = Path(__file__).parents[3]
STATEMENT = re.compile(
    r"\b(ON DUPLICATE KEY UPDATE|CREATE OR REPLACE [A-Z]+|(?:CREATE|ALTER|DROP|REORGANIZE) [A-Z]+|"
    r"(?:ADD|MODIFY) COLUMN|MODIFY(?= $)|REMOVE TTL|SELECT|INSERT|UPDATE|DELETE|TRUNCATE|RENAME|REPLACE INTO|"
    r"LOCK TABLES|LOAD|CALL|OUTFILE)\b"
)
"""The beginnings of statements, and the clauses that need a privilege of their own."""


def texts(folder: Path) -> Iterator[str]:
    """Yields the texts in the code of a folder, without docstrings."""
    for file in folder.glob("*.py"):
        tree = ast.parse(file.read_text())
        skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and is_docstring(node)}
        if file.name not in {"grants.py", "error_codes.py"}:
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                    yield node.value


def used(service: str) -> set[str]:
    return {found[1] for text in texts(ROOT / "services" / service) for found in STATEMENT.finditer(text)}


def test_every_statement_of_the_mysql_writer_is_listed_and_no_other() -> None:
    assert used("mysql_writer") == {*mysql.NEEDED_BY}


def test_every_statement_of_the_clickhouse_bridge_is_listed_and_no_other() -> None:
    found = {"MODIFY TTL" if text == "MODIFY" else text for text in used("ch_bridge")}
    assert found == {*clickhouse.NEEDED_BY}


def test_a_writer_gets_nothing_beyond_its_database_and_a_reader_only_reads() -> None:
    assert mysql.privileges("reader") == clickhouse.privileges("reader") == ["SELECT"]
    for role in ("writer", "reader"):
        wanted = mysql.MysqlUser(role=role, database="pm_flow", user="o'b", host="10.1.%", password="a'b")
        *others, grant = mysql.grant_statements(wanted)
        assert grant.endswith(r" ON `pm\_flow`.* TO 'o''b'@'10.1.%'")
        assert "CREATE USER IF NOT EXISTS 'o''b'@'10.1.%' IDENTIFIED BY 'a''b'" in others


def test_a_user_whose_password_is_not_given_is_not_created() -> None:
    wanted = mysql.MysqlUser(role="reader", database="pmflow", user="r", require_ssl=True)
    assert list(mysql.grant_statements(wanted)) == [
        "ALTER USER 'r'@'%' REQUIRE SSL",
        "GRANT SELECT ON `pmflow`.* TO 'r'@'%'",
    ]
    reader = clickhouse.ClickhouseUser(role="reader", database="pmflow", user="r")
    assert list(clickhouse.grant_statements(reader)) == ["GRANT SELECT ON `pmflow`.* TO `r`"]


@pytest.mark.parametrize(
    ("host", "shown"), [("", "ANY"), ("10.1.2.3/16", "IP '10.1.0.0/16'"), ("%.lan", "LIKE '%.lan'")]
)
def test_in_clickhouse_the_password_is_a_digest_and_the_host_a_network_or_pattern(host: str, shown: str) -> None:
    wanted = clickhouse.ClickhouseUser(role="writer", database="pmflow", user="w", host=host, password="s3cret")
    printed = list(clickhouse.grant_statements(wanted))
    assert printed[1].startswith("CREATE USER IF NOT EXISTS `w` IDENTIFIED WITH sha256_hash BY '1ec1c26b")
    assert printed[1].endswith(f"HOST {shown}")
    assert "s3cret" not in "".join(printed)


def test_the_command_takes_database_and_user_from_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("s3cret\n")
    monkeypatch.setenv("PMFLOW_CONFIG", "")
    monkeypatch.setenv("PMFLOW_MYSQL__USER", "mysql_writer")
    monkeypatch.setenv("PMFLOW_CLICKHOUSE__URL", "https://ch_bridge@host:8443/pm")
    options = ["--password-file", str(tmp_path / "word")]
    written = CliRunner().invoke(app, ["grants", "mysql", *options, "--require-ssl"])
    assert written.exit_code == 0
    assert "CREATE USER IF NOT EXISTS 'mysql_writer'@'%' IDENTIFIED BY 's3cret';" in written.output.splitlines()
    assert "ALTER USER 'mysql_writer'@'%' REQUIRE SSL;" in written.output.splitlines()
    read = CliRunner().invoke(app, ["grants", "clickhouse", "--role", "reader"])
    assert read.output.splitlines() == ["GRANT SELECT ON `pm`.* TO `pmflow_reader`;"]
    missing = CliRunner().invoke(app, ["grants", "mysql", "--password-file", str(tmp_path / "none")])
    assert missing.exit_code == 1
    assert "--password-file" in missing.output
