"""Each failure of a command becomes one line that says what to do."""

from pathlib import Path

import pymysql
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from shared.errors import Hopeless, Unreachable
from shared.settings import BadSettings
from tools.cli.failures import LONGEST_FAILURE, failure_text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BadSettings("mysql: unknown key 'prot'"), "mysql: unknown key 'prot'"),
        (Hopeless("refused"), "refused"),
        (Unreachable("no broker; check it"), "no broker; check it"),
        (Unreachable("no answer"), "no answer; run pmflow doctor to find out what is wrong"),
        (pymysql.OperationalError(2003, "no\nconnection"),
         "MySQL: no connection; check the section mysql, or run pmflow doctor"),
        (DatabaseError("no"), "ClickHouse: no; check clickhouse.url, or run pmflow doctor"),
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied; check the rights of this user"),
        (ConnectionRefusedError(111, "refused"), "[Errno 111] refused; run pmflow doctor to find out what is wrong"),
        (KeyError("a"), "failed unexpectedly: KeyError: 'a'; pmflow --debug ... shows where, please report it"),
    ],
)  # fmt: skip
def test_a_failure_is_one_line_with_what_to_do(error: Exception, text: str) -> None:
    assert failure_text(error) == text


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        (tmp_path / "none").read_bytes()
    assert failure_text(missing.value) == f"{tmp_path}/none: No such file or directory; check the name"


def test_a_long_failure_is_cut() -> None:
    assert len(failure_text(ValueError("x" * 5000))) == LONGEST_FAILURE
