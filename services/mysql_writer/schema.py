"""Tables and columns make themselves. DDL never shares a transaction with data: it commits implicitly."""

import logging
from collections.abc import Collection, Iterable, Mapping

from services.mysql_writer.connection import Connection, Execute
from services.mysql_writer.rows import Chunk, Column, quoted
from shared.landing import NOT_ALLOWED, RefusedCounters
from shared.names import column_name, marked, table_name
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
LONGEST_COUNTER = 255
"""Characters of a measType."""
COUNTERS_PER_TABLE = 900
"""InnoDB's row holds about 996 DOUBLEs."""
SQL_TYPES: Mapping[Kind, str] = {"number": "DOUBLE", "text": "LONGTEXT"}


class Schema:
    """What is known of the tables, and the way to make them what they must be. One owner."""

    def __init__(self, connection: Connection, *, add_columns: bool) -> None:
        self.connection = connection
        self.add_columns = add_columns
        self.tables: dict[tuple[str, str], str] = {}
        self.columns: dict[str, dict[str, Column]] = {}

    def forget(self) -> None:
        """Somebody changed it under us."""
        self.tables.clear()
        self.columns.clear()

    def table(self, chunk: Chunk) -> tuple[str, Mapping[str, Column]]:
        """The chunk's table and columns, made or widened where they are not there yet."""
        key = chunk.system, chunk.group
        if key not in self.tables:
            self.tables[key] = self._make_table(*key)
        table = self.tables[key]
        wanted = {counter: kind_of(values) for counter, values in chunk.counters.items()}
        if table not in self.columns or self._lacking(table, wanted):
            self._make_columns(key, table, wanted)
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
        with self.connection.transaction() as execute:
            for name in (plain, marked(plain, group)):  # the second when another group has the first, but for case
                execute(
                    "INSERT INTO pm_group VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE measinfo = measinfo",
                    (system, group, name),
                )
                found = execute(
                    "SELECT `table_name` FROM pm_group WHERE `system` = %s AND measinfo = %s", (system, group)
                )
                if found:
                    break
        table = str(found[0][0])
        with self.connection.ddl(table) as execute:
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

    def _make_columns(self, group: tuple[str, str], table: str, wanted: Mapping[str, Kind]) -> None:
        """All missing columns in one ALTER; another writer may be doing the same."""
        with self.connection.ddl(table) as execute:
            self._read_columns(table, execute)
            lacking = self._lacking(table, wanted)
            if not lacking:
                return
            known = self.columns[table]
            unknown = [counter for counter in lacking if counter not in known]
            self._may_add(group, unknown, known)
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
                execute(
                    "INSERT INTO pm_counter VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE counter = counter",
                    (table, counter, names[counter]),
                )
            self._read_columns(table, execute)
        log.info("columns made", extra={"table": table, "added": len(unknown), "widened": len(lacking) - len(unknown)})

    def _may_add(self, group: tuple[str, str], unknown: Collection[str], known: Collection[str]) -> None:
        if unknown and not self.add_columns:
            raise RefusedCounters({(*group, counter): NOT_ALLOWED for counter in unknown})
        if too_long := [counter for counter in unknown if len(counter) > LONGEST_COUNTER]:
            why = f"its name is longer than {LONGEST_COUNTER} characters"
            raise RefusedCounters({(*group, counter): why for counter in too_long})
        if len(unknown) + len(known) > COUNTERS_PER_TABLE:
            why = f"more than {COUNTERS_PER_TABLE} counters in one measurement group"
            raise RefusedCounters({(*group, counter): why for counter in unknown})

    @staticmethod
    def _names(counters: Iterable[str], known: Mapping[str, Column]) -> dict[str, str]:
        taken = {column.name.lower() for column in known.values()}
        names = {}
        for counter in counters:
            names[counter] = column_name(counter, taken)
            taken.add(names[counter].lower())
        return names

    def _read_columns(self, table: str, execute: Execute) -> None:
        present = _present(table, execute)
        self.columns[table] = {
            counter: Column(name, present[name.lower()])
            for counter, name in execute(
                "SELECT counter, `column_name` FROM pm_counter WHERE `table_name` = %s", (table,)
            )
            if name.lower() in present
        }


def _present(table: str, execute: Execute) -> dict[str, Kind]:
    """The columns there are, in lower case."""
    return {
        name.lower(): "number" if kind == "double" else "text"
        for name, kind in execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = %s",
            (table,),
        )
    }
