"""`pmflow grants` on the real databases: its users can do the whole job of a service, and nothing else."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from time import time as time_s
from typing import Any

import pymysql
import pytest

from services.mysql_writer.connection import connect
from services.mysql_writer.cycles import CycleTable
from services.mysql_writer.files import FileTable
from services.mysql_writer.grants import MysqlUser, Role, grant_statements, privileges
from services.mysql_writer.repository import Repository
from services.mysql_writer.retention import Retention
from services.mysql_writer.settings import Mysql, MysqlRules
from services.mysql_writer.sink import MysqlWriterWorker
from services.tracker.cycles import CycleStatistics
from shared.errors import Hopeless, Unreachable
from shared.messages import FileStatus
from tests.integration import mariadb
from tests.integration.mysqls import administrator
from tests.integration.test_sinks import Database
from tools.cli.operate.stored import in_mysql
from tools.devstack.stack import Stack

PASSWORD = "it's a \\ secret"
DAY = timedelta(days=1)


@dataclass
class Granted:
    """A database, its administrator, and the users that `pmflow grants mysql` creates."""

    root: Mysql
    require_ssl: bool

    def __post_init__(self) -> None:
        self.users = [self.create("writer"), self.create("reader")]

    def execute(self, *statements: str) -> None:
        with administrator(replace(self.root, database="mysql")) as execute:
            for statement in statements:
                execute(statement)

    def user(self, role: Role) -> MysqlUser:
        name = f"{role}_{self.root.database[-8:]}"
        return MysqlUser(
            role=role, database=self.root.database, user=name, password=PASSWORD, require_ssl=self.require_ssl
        )

    def create(self, role: Role) -> Mysql:
        self.execute(*grant_statements(self.user(role)), *grant_statements(self.user(role)))  # they may be repeated
        return replace(self.root, user=self.user(role).user, password=PASSWORD)

    @property
    def writer(self) -> Mysql:
        return self.users[0]

    @property
    def reader(self) -> Mysql:
        return self.users[1]

    def drop(self) -> None:
        users = ", ".join(f"'{self.user(role).user}'@'%'" for role in ("writer", "reader"))
        self.execute(f"DROP DATABASE IF EXISTS `{self.root.database}`", f"DROP USER {users}")


@contextmanager
def granted(root: Mysql, *, require_ssl: bool = False) -> Iterator[Granted]:
    made = Granted(replace(root, database=f"pm_{uuid.uuid4().hex[:8]}"), require_ssl)
    yield made
    made.drop()


@pytest.fixture(params=["mysql", *mariadb.IF_THERE])
def root(request: pytest.FixtureRequest, stack: Stack) -> Mysql:
    port = stack.mysql_port if request.param == "mysql" else request.getfixturevalue("mariadb_port")
    return Mysql(host="127.0.0.1", port=port, user="root")


def the_whole_job(server: Mysql) -> None:
    """Does everything that the service does, and checks that it is done, also where the service would try again."""
    rules = MysqlRules(retention_days=3, split_dn=True)
    repository, retention = Repository(server, lambda _: rules), Retention(server)
    database = Database(lambda: MysqlWriterWorker(repository), lambda _: in_mysql(server), repository.close)
    try:
        today = datetime.now(UTC).date()
        noon = datetime.combine(today, time(12), UTC)
        end_s = int(noon.timestamp())
        database.write(database.batch([["NRCellDU=1", 0, 1, 2]], end_s=end_s))
        database.write(database.batch([["NRCellDU=1", 0, 3, "word"]], ver=2, end_s=end_s))  # widens a column
        database.write(database.batch([["NRCellDU=1,Beam=2", 0, 1]], ("c",), ver=3, end_s=end_s))  # adds columns
        assert ("e1", "NRCellDU=1") in database.rows("a", "b", "c")
        retention.keep("4ga", 3, today)
        before = partitions(repository)
        retention.keep("4ga", 3, today + DAY)
        assert before - partitions(repository)
        assert partitions(repository) - before
        assert views(repository)
    finally:
        repository.close()
        retention.close()
    cycles = CycleTable(server)
    cycles.keep([CycleStatistics(lambda _: ("mysql",), lateness_s=0, keep_s=1).figures("4ga", 900, (), 1.0)])
    cycles.close()
    keep_history(server)


def keep_history(server: Mysql) -> None:
    """Stores the history of a file, and drops what is too old."""
    files = FileTable(server, lambda _: 3)
    files.keep([file_status()])
    files.close()


def file_status() -> FileStatus:
    at_s = time_s()
    return FileStatus(
        file_id=uuid.uuid4().hex[:16], system="4ga", endpoint="ne1", element="ne1", path="/pm/f",
        size=1, mtime_s=int(at_s), epoch=1, stage="done", at_s=at_s,
    )  # fmt: skip


def partitions(repository: Repository) -> set[Any]:
    with repository.connection.transaction() as execute:
        return set(
            execute(
                "SELECT table_name, partition_name FROM information_schema.partitions "
                "WHERE table_schema = DATABASE() AND partition_name IS NOT NULL"
            )
        )


def views(repository: Repository) -> list[Any]:
    with repository.connection.transaction() as execute:
        return list(execute("SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE()"))


def test_the_writers_user_can_do_the_whole_job_twice(root: Mysql) -> None:
    with granted(root) as made:
        the_whole_job(made.writer)
        the_whole_job(made.writer)


@pytest.mark.parametrize("privilege", privileges("writer"))
def test_without_any_of_its_privileges_the_writers_user_cannot_do_the_job(stack: Stack, privilege: str) -> None:
    with granted(Mysql(host="127.0.0.1", port=stack.mysql_port, user="root")) as made:
        account = f"'{made.writer.user}'@'%'"
        pattern = made.root.database.replace("_", r"\_")
        made.execute(f"REVOKE {privilege} ON `{pattern}`.* FROM {account}")
        with pytest.raises((Hopeless, Unreachable, pymysql.Error, AssertionError)):
            the_whole_job(made.writer)


DENIED = frozenset({1044, 1045, 1095, 1142, 1227, 1370, 1410})
"""Errors that mean a lack of rights."""
REFUSED_TO_A_WRITER: dict[str, Callable[[str], str]] = {
    "another database": lambda other: f"SELECT * FROM `{other}`.t",
    "another database's removal": lambda other: f"DROP DATABASE `{other}`",
    "a new database": lambda other: f"CREATE DATABASE `{other}_2`",
    "logins": lambda _: "SELECT user FROM mysql.user",
    "a file to read": lambda _: "SELECT 1 FROM (SELECT LOAD_FILE('/etc/hostname') AS f) x WHERE f IS NOT NULL",
    "a file to write": lambda other: f"SELECT 1 INTO OUTFILE '/tmp/{other}'",
    "a user": lambda _: "CREATE USER somebody",
    "a grant": lambda _: "GRANT SELECT ON mysql.* TO CURRENT_USER()",
    "the server's settings": lambda _: "SET GLOBAL max_connections = 10",
    "what others do": lambda _: "SHOW ENGINE INNODB STATUS",
    "the server": lambda _: "SHUTDOWN",
    "a trigger": lambda _: "CREATE TRIGGER tr BEFORE INSERT ON pm_object FOR EACH ROW SET @a = 1",
    "a routine": lambda _: "CREATE PROCEDURE p() SELECT 1",
    "an index": lambda _: "CREATE INDEX i ON pm_object (id)",
}
REFUSED_TO_A_READER: dict[str, Callable[[str], str]] = {
    **REFUSED_TO_A_WRITER,
    "rows": lambda _: "DELETE FROM pm_object",
    "new rows": lambda _: "INSERT INTO pm_position VALUES ('t', 0, 0, 0)",
    "a table": lambda _: "CREATE TABLE t2 (id INT)",
    "a table's removal": lambda _: "DROP TABLE pm_object",
    "a column": lambda _: "ALTER TABLE pm_object ADD COLUMN c INT",
    "the database's removal": lambda other: f"DROP DATABASE `{other.replace('x', '_', 1)}`",
}


def test_the_users_are_refused_what_they_do_not_need(root: Mysql) -> None:
    with granted(root) as made:
        the_whole_job(made.writer)
        other = made.root.database.replace("_", "x", 1)  # which an underscore in a pattern would match
        made.execute(f"CREATE DATABASE `{other}`", f"CREATE TABLE `{other}`.t (id INT)")
        try:
            for login, refused in ((made.writer, REFUSED_TO_A_WRITER), (made.reader, REFUSED_TO_A_READER)):
                with connect(login, login.database) as line, line.cursor() as cursor:
                    for what, statement in refused.items():
                        assert is_refused(cursor, statement(other)), f"{login.user}: {what}"
        finally:
            made.execute(f"DROP DATABASE `{other}`")


def is_refused(cursor: Any, statement: str) -> bool:
    """Returns True if the server refuses; without the right to read a file, LOAD_FILE is NULL."""
    try:
        rows = cursor.execute(statement)
    except pymysql.Error as error:
        return error.args[0] in DENIED
    return "LOAD_FILE" in statement and not rows


def test_a_reader_can_verify_every_value(root: Mysql) -> None:
    with granted(root) as made:
        the_whole_job(made.writer)
        assert len(list(in_mysql(made.reader))) == 2
        with connect(made.reader, made.reader.database) as line, line.cursor() as cursor:
            for table in ("pm_cycle", "pm_file", "pm_group", "pm_counter", "pm_position", "pm_object"):
                cursor.execute(f"SELECT * FROM {table}")


def test_a_user_that_requires_tls_does_the_job_over_it_and_is_refused_without_it(stack: Stack) -> None:
    with granted(Mysql(host="127.0.0.1", port=stack.mysql_port, user="root"), require_ssl=True) as made:
        the_whole_job(replace(made.writer, tls="prefer"))
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            connect(replace(made.writer, tls="off"), None)


def test_the_password_of_an_existing_user_is_replaced(root: Mysql, tmp_path: Path) -> None:
    with granted(root) as made:
        (tmp_path / "word").write_text("another")
        made.execute(*grant_statements(replace(made.user("writer"), password="another")))
        with connect(replace(made.writer, password="", password_file=str(tmp_path / "word")), None):
            pass
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            connect(made.writer, None)
