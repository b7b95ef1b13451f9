"""MySQL and MariaDB: the only module that imports PyMySQL.

Tables and columns make themselves; rows are upserted, together with the consumer's positions, in one transaction.
DDL never shares a transaction with data: it commits implicitly.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql

from services.mysql_writer.rows import Chunk, Column, quoted
from shared.errors import Hopeless, Unreachable
from shared.names import column_name, marked, table_name
from shared.settings import Mysql, secret
from shared.sink import Place
from shared.values import Kind, kind_of

log = logging.getLogger(__name__)

OWN_TABLES = (
    """CREATE TABLE IF NOT EXISTS pm_object (
        id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        digest BINARY(16) NOT NULL COMMENT 'of system, element and ldn: too long for a key themselves',
        `system` VARCHAR(64) NOT NULL,
        element TEXT NOT NULL COMMENT 'distinguished name of the managed element',
        ldn TEXT NOT NULL COMMENT 'measObjLdn',
        UNIQUE KEY (digest)
    ) CHARACTER SET utf8mb4""",
    """CREATE TABLE IF NOT EXISTS pm_group (
        `system` VARCHAR(64) NOT NULL,
        measinfo VARCHAR(255) COLLATE utf8mb4_bin NOT NULL COMMENT 'measInfoId',
        `table_name` VARCHAR(64) NOT NULL,
        PRIMARY KEY (`system`, measinfo),
        UNIQUE KEY (`table_name`)
    ) CHARACTER SET utf8mb4""",
    """CREATE TABLE IF NOT EXISTS pm_counter (
        `table_name` VARCHAR(64) NOT NULL,
        counter VARCHAR(255) COLLATE utf8mb4_bin NOT NULL COMMENT 'measType',
        `column_name` VARCHAR(64) NOT NULL,
        PRIMARY KEY (`table_name`, counter),
        UNIQUE KEY (`table_name`, `column_name`)
    ) CHARACTER SET utf8mb4""",
    """CREATE TABLE IF NOT EXISTS pm_position (
        topic VARCHAR(249) NOT NULL,
        `partition` INT NOT NULL,
        next_offset BIGINT NOT NULL,
        epoch BIGINT NOT NULL COMMENT 'raised by each new owner: a former one writes no more',
        PRIMARY KEY (topic, `partition`)
    ) CHARACTER SET ascii""",
)
COUNTERS_PER_TABLE = 900
"""InnoDB's row holds about 996 DOUBLEs."""
SQL_TYPES: Mapping[Kind, str] = {"number": "DOUBLE", "text": "LONGTEXT"}

DUPLICATE_COLUMN = 1060
STALE_SCHEMA = {1054, 1146}  # unknown column, no such table: somebody changed it under us
MAY_PASS = STALE_SCHEMA | {
    1021, 1040, 1041, 1053, 1114, 1129, 1158, 1159, 1160, 1161, 1180, 1203, 1205, 1213, 1226, 1290, 1317, 1836, 3024,
    2002, 2003, 2006, 2013, 2055,
}  # fmt: skip
"""Server away, shutting down, read-only, full; too many connections; deadlock, lock wait; line cut."""
MAY_PASS_AT_LOGIN = {1045, 1049}
"""Access denied, unknown database: a person is about to mend it, the data waits in Kafka."""


class Fenced(Exception):  # noqa: N818
    """Another writer owns the partition now; this one must leave."""


class Repository:
    """One connection, one owner.

    Raises (all methods):
        Unreachable: the server does not answer, or asks to try again; the transaction is rolled back.
        Hopeless: it will never take this.
    """

    def __init__(self, settings: Mysql, *, add_columns: bool) -> None:
        self.settings = settings
        self.add_columns = add_columns
        self.connection: pymysql.Connection[Any] | None = None
        self.tables: dict[tuple[str, str], str] = {}
        self.columns: dict[str, dict[str, Column]] = {}
        self.objects: dict[tuple[str, str, str], int] = {}
        self.epochs: dict[Place, int] = {}

    # -- positions

    def take_over(self, places: Iterable[Place]) -> dict[Place, int]:
        """Become the owner of partitions: raise their epochs; their next offsets, 0 for new ones."""
        found = {}
        with self._transaction() as execute:
            for place in places:
                execute(
                    "INSERT INTO pm_position VALUES (%s, %s, 0, 1) ON DUPLICATE KEY UPDATE epoch = epoch + 1", place
                )
                ((found[place], self.epochs[place]),) = execute(
                    "SELECT next_offset, epoch FROM pm_position WHERE topic = %s AND `partition` = %s", place
                )
        return found

    # -- schema

    def table(self, chunk: Chunk) -> tuple[str, Mapping[str, Column]]:
        """The chunk's table and columns, made or widened where they are not there yet."""
        key = chunk.system, chunk.group
        if key not in self.tables:
            self.tables[key] = self._make_table(*key)
        table = self.tables[key]
        wanted = {counter: kind_of(values) for counter, values in chunk.counters.items()}
        if table not in self.columns or self._lacking(table, wanted):
            self._make_columns(table, wanted)
        return table, self.columns[table]

    def _lacking(self, table: str, wanted: Mapping[str, Kind]) -> dict[str, Kind]:
        """Counters without a column, or whose column is too narrow."""
        known = self.columns.get(table, {})
        return {
            counter: kind
            for counter, kind in wanted.items()
            if counter not in known or (kind == "text" and known[counter].kind == "number")
        }

    def _make_table(self, system: str, group: str) -> str:
        plain = table_name(system, group).lower()
        with self._transaction() as execute:
            for name in (plain, marked(plain, group)):  # the second when another group has the first, but for case
                execute("INSERT IGNORE INTO pm_group VALUES (%s, %s, %s)", (system, group, name))
                found = execute(
                    "SELECT `table_name` FROM pm_group WHERE `system` = %s AND measinfo = %s", (system, group)
                )
                if found:
                    break
        table = str(found[0][0])
        with self._ddl(table) as execute:
            execute(
                f"CREATE TABLE IF NOT EXISTS {quoted(table)} ("
                "ts DATETIME NOT NULL COMMENT 'end of the granularity period, UTC', "
                "obj INT UNSIGNED NOT NULL COMMENT 'pm_object.id', "
                "gp_s INT UNSIGNED NOT NULL COMMENT 'granularity period', "
                "suspect TINYINT(1) NOT NULL, "
                "ver BIGINT NOT NULL COMMENT 'of the newest file in the row', "
                "PRIMARY KEY (ts, obj, gp_s)) CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC"
            )
        return table

    def _make_columns(self, table: str, wanted: Mapping[str, Kind]) -> None:
        """All missing columns in one ALTER; another writer may be doing the same."""
        with self._ddl(table) as execute:
            self._read_columns(table, execute)
            lacking = self._lacking(table, wanted)
            if not lacking:
                return
            known = self.columns[table]
            unknown = [counter for counter in lacking if counter not in known]
            self._may_add(table, unknown, known)
            names = self._names(unknown, known)
            present = _present(table, execute)
            changes = [
                f"ADD COLUMN {quoted(names[counter])} {SQL_TYPES[lacking[counter]]} NULL"
                for counter in unknown
                if names[counter].lower() not in present  # else: made, but a crash kept it from pm_counter
            ] + [
                f"MODIFY COLUMN {quoted(known[counter].name)} {SQL_TYPES['text']} NULL"
                for counter in lacking
                if counter in known
            ]
            if changes:
                execute(f"ALTER TABLE {quoted(table)} {', '.join(changes)}")
            for counter in unknown:
                execute("INSERT IGNORE INTO pm_counter VALUES (%s, %s, %s)", (table, counter, names[counter]))
            self._read_columns(table, execute)
        log.info("columns made", extra={"table": table, "added": len(unknown), "widened": len(lacking) - len(unknown)})

    def _may_add(self, table: str, unknown: Collection[str], known: Collection[str]) -> None:
        if unknown and not self.add_columns:
            raise Hopeless(f"{table}: unknown counters {sorted(unknown)[:10]}; is-auto-adding-column is false")
        if len(unknown) + len(known) > COUNTERS_PER_TABLE:
            raise Hopeless(f"{table}: more than {COUNTERS_PER_TABLE} counters in one measurement group")

    @staticmethod
    def _names(counters: Iterable[str], known: Mapping[str, Column]) -> dict[str, str]:
        taken = {column.name.lower() for column in known.values()}
        names = {}
        for counter in counters:
            names[counter] = column_name(counter, taken)
            taken.add(names[counter].lower())
        return names

    def _read_columns(self, table: str, execute: "Execute") -> None:
        present = _present(table, execute)
        self.columns[table] = {
            counter: Column(name, present[name.lower()])
            for counter, name in execute(
                "SELECT counter, `column_name` FROM pm_counter WHERE `table_name` = %s", (table,)
            )
            if name.lower() in present
        }

    # -- objects

    def object_ids(self, system: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Ids of (element, ldn), given to new ones."""
        missing = {_digest(system, *o): o for o in wanted if (system, *o) not in self.objects}
        if missing:
            with self._transaction() as execute:
                execute(
                    "INSERT IGNORE INTO pm_object (digest, `system`, element, ldn) VALUES "
                    + ", ".join(["(%s, %s, %s, %s)"] * len(missing)),
                    [v for digest, o in sorted(missing.items()) for v in (digest, system, *o)],
                )
            with self._transaction() as execute:  # a new snapshot: another writer may have made some of them
                for digest, number in execute(
                    f"SELECT digest, id FROM pm_object WHERE digest IN ({', '.join(['%s'] * len(missing))})",
                    list(missing),
                ):
                    self.objects[system, *missing[digest]] = number
        return {o: self.objects[system, *o] for o in wanted}

    # -- data

    def store(self, statements: Iterable[bytes], positions: Mapping[Place, int]) -> None:
        """Rows and positions, all or nothing.

        Raises:
            Fenced: another writer took a partition over.
        """
        with self._transaction() as execute:
            for statement in statements:
                execute(statement, None)
            for place, next_offset in positions.items():
                moved = execute.changed(
                    "UPDATE pm_position SET next_offset = %s WHERE topic = %s AND `partition` = %s AND epoch = %s",
                    (next_offset, *place, self.epochs[place]),
                )
                if not moved:
                    raise Fenced(f"{place}: epoch {self.epochs[place]} is over")

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    # -- the line

    @contextmanager
    def _transaction(self) -> "Iterator[Execute]":
        try:
            connection = self._connected()
            connection.begin()
            yield Execute(connection)
            connection.commit()
        except pymysql.Error as error:
            self._failed(error)
        except OSError as error:
            self.close()
            raise Unreachable(f"{self._where}: {error}") from error
        except BaseException:
            self._roll_back()
            raise

    @contextmanager
    def _ddl(self, table: str) -> "Iterator[Execute]":
        """Alone on this table among pmflow's writers; waits only shortly for readers, who would wait behind it."""
        with self._transaction() as execute:
            ((got,),) = execute("SELECT GET_LOCK(%s, 30)", (f"pmflow {table}"[:64],))
            if got != 1:
                raise Unreachable(f"{table}: another writer changes it")
            try:
                execute("SET SESSION lock_wait_timeout = 10")
                yield execute
            finally:
                if self.connection is not None and self.connection.open:
                    execute("DO RELEASE_LOCK(%s)", (f"pmflow {table}"[:64],))

    def _connected(self) -> "pymysql.Connection[Any]":
        if self.connection is None:
            self.connection = self._connect(self.settings.database)
            with self.connection.cursor() as cursor:
                for statement in OWN_TABLES:
                    cursor.execute(statement)
        return self.connection

    def _connect(self, database: str | None) -> "pymysql.Connection[Any]":
        try:
            return pymysql.connect(
                host=self.settings.host,
                port=self.settings.port,
                user=self.settings.user,
                password=secret(self.settings.password, self.settings.password_file),
                database=database,
                charset="utf8mb4",
                connect_timeout=10,
                read_timeout=120,
                write_timeout=120,
                # rowcount tells found rows: a position set to what it was still is ours
                client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
                init_command="SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES', "
                "innodb_lock_wait_timeout = 20",
            )
        except pymysql.OperationalError as error:
            if error.args[0] != 1049 or database is None:
                raise
            with self._connect(None) as server, server.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE IF NOT EXISTS {quoted(database)} CHARACTER SET utf8mb4")
            return self._connect(database)

    def _failed(self, error: pymysql.Error) -> None:
        code = error.args[0] if error.args else 0
        self._roll_back()
        if code in STALE_SCHEMA:
            self.tables.clear()
            self.columns.clear()
        if code in MAY_PASS | MAY_PASS_AT_LOGIN | {DUPLICATE_COLUMN} or isinstance(error, pymysql.InterfaceError):
            raise Unreachable(f"{self._where}: {error}") from error
        raise Hopeless(f"{self._where}: {error}") from error

    def _roll_back(self) -> None:
        """By ending the line: it releases every lock, whatever state it is in."""
        self.close()

    @property
    def _where(self) -> str:
        return f"MySQL {self.settings.host}:{self.settings.port}/{self.settings.database}"


class Execute:
    """Statements on a connection; the rows of the answer."""

    def __init__(self, connection: "pymysql.Connection[Any]") -> None:
        self.connection = connection

    def __call__(self, statement: str | bytes, arguments: Sequence[Any] | None = None) -> Sequence[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return list(cursor.fetchall())

    def changed(self, statement: str, arguments: Sequence[Any]) -> int:
        """How many rows it found."""
        with self.connection.cursor() as cursor:
            return int(cursor.execute(statement, arguments))


def _present(table: str, execute: Callable[..., Sequence[Any]]) -> dict[str, Kind]:
    """The columns there are, in lower case."""
    return {
        name.lower(): "number" if kind == "double" else "text"
        for name, kind in execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = %s",
            (table,),
        )
    }


def _digest(system: str, element: str, ldn: str) -> bytes:
    return hashlib.blake2b(f"{system}\0{element}\0{ldn}".encode(), digest_size=16).digest()
