"""Tables and columns make themselves. DDL never shares a transaction with data: it commits implicitly."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from services.mysql_writer.connection import Connection, Execute
from services.mysql_writer.partitions import DAYS_BEHIND, new, partitioned
from services.mysql_writer.rows import Chunk, Column, quoted
from services.mysql_writer.settings import Rules
from shared.sinks import metrics
from shared.sinks.landing import NOT_ALLOWED, RefusedCounters
from shared.sinks.names import LONGEST, column_name, marked, table_name
from shared.sinks.values import Content, Kind, are_exact, content_of, kind_of, widened

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
        part SMALLINT NOT NULL COMMENT '1, 2 ..: more counters than one table holds; 0: the view of all',
        `table_name` VARCHAR(64) NOT NULL,
        PRIMARY KEY (`system`, measinfo, part),
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
ROOM = 900
"""Of a table, in numbers: InnoDB's row holds about 996 of them."""
TAKES: Mapping[Kind, int] = {"number": 1, "integer": 1, "vector": 5, "text": 5}
"""Room of a column: of a text up to 40 bytes lie in the row."""
SQL_TYPES: Mapping[Kind, str] = {
    "number": "DOUBLE",
    "integer": "BIGINT",
    "vector": "JSON",
    "text": "LONGTEXT COLLATE utf8mb4_unicode_ci",
}
LONGEST_UNIT = 1024
"""Characters of a column's comment."""
FIRST, VIEW = 1, 0
Group = tuple[str, str]
"""System, measInfoId."""


class Schema:
    """What is known of the tables, and the way to make them what they must be. One owner."""

    def __init__(self, connection: Connection, rules: Callable[[str], Rules]) -> None:
        self.connection = connection
        self.rules = rules
        self.first: dict[Group, str] = {}
        self.columns: dict[Group, dict[str, Column]] = {}

    def forget(self) -> None:
        """Somebody changed it under us."""
        self.first.clear()
        self.columns.clear()

    def tables(self, chunk: Chunk) -> Mapping[str, Mapping[str, Column]]:
        """Where the chunk's counters live, table by table, made or widened where they are not there yet.

        The group's first table is always among them: it has every row, whatever counters it brings.

        Raises:
            RefusedCounters: some of them may not or cannot have a column.
        """
        group = chunk.system, chunk.group
        known = self.columns.get(group)
        if known is None or not all(
            counter in known and _holds(known[counter].kind, values) for counter, values in chunk.counters.items()
        ):
            self._make(chunk)
        found: dict[str, dict[str, Column]] = {self.first[group]: {}}
        for counter in chunk.counters:
            column = self.columns[group][counter]
            found.setdefault(column.table, {})[counter] = column
        return found

    def _lacking(self, chunk: Chunk, wanted: Mapping[str, Content]) -> dict[str, Kind]:
        """Counters without a column, or whose column does not hold these values: what it must be."""
        known = self.columns.get((chunk.system, chunk.group), {})
        kinds = {
            counter: widened(known[counter].kind, content)
            if counter in known
            else kind_of(content, chunk.types.get(counter))
            for counter, content in wanted.items()
        }
        return {c: kind for c, kind in kinds.items() if c not in known or known[c].kind != kind}

    def _make(self, chunk: Chunk) -> None:
        """All missing columns, in one ALTER a table; another writer may be doing the same."""
        wanted = {counter: content_of(values) for counter, values in chunk.counters.items()}
        group = chunk.system, chunk.group
        with self.connection.transaction() as execute:
            first = self.first[group] = _claimed(group, FIRST, execute)
        with self.connection.ddl(first) as execute:
            partitions = self._partitions(chunk.system)
            execute(_create(first) + partitions)
            known = self.columns[group] = _read(group, execute)
            lacking = self._lacking(chunk, wanted)
            if not lacking:
                return
            unknown = {counter: kind for counter, kind in lacking.items() if counter not in known}
            self._check(group, unknown)
            _add(chunk, unknown, known, partitions, execute)
            _widen({known[counter]: kind for counter, kind in lacking.items() if counter in known}, execute)
            known = self.columns[group] = _read(group, execute)
            if any(column.table != first for column in known.values()):
                execute(_view(_claimed(group, VIEW, execute), first, known.values()))
        tell(first, len(unknown), len(lacking) - len(unknown))

    def _partitions(self, system: str) -> str:
        """The clause of a new table."""
        days = self.rules(system).retention_days
        return partitioned(new(datetime.now(UTC).date(), min(days, DAYS_BEHIND))) if days else ""

    def _check(self, group: Group, unknown: Collection[str]) -> None:
        if unknown and not self.rules(group[0]).add_columns:
            raise RefusedCounters({(*group, counter): NOT_ALLOWED for counter in unknown})
        if too_long := [counter for counter in unknown if len(counter) > LONGEST_COUNTER]:
            why = f"its name is longer than {LONGEST_COUNTER} characters"
            raise RefusedCounters({(*group, counter): why for counter in too_long})


def _holds(kind: Kind, values: Sequence[Any]) -> bool:
    return (kind == "number" and are_exact(values)) or widened(kind, content_of(values)) == kind


def tell(table: str, added: int, widened: int) -> None:
    """Of columns made."""
    metrics.SCHEMA_CHANGES.labels("mysql", "column added").inc(added)
    metrics.SCHEMA_CHANGES.labels("mysql", "column widened").inc(widened)
    log.info("columns made", extra={"table": table, "added": added, "widened": widened})


def parts(unknown: Mapping[str, Kind], taken: Sequence[int]) -> dict[str, int]:
    """The part of the group's tables, counted from 1, that each new counter goes to.

    Args:
        unknown: the new counters.
        taken: of each table there is, how much of its room; at least one.
    """
    part, room = len(taken), ROOM - taken[-1]
    found = {}
    for counter, kind in unknown.items():
        if TAKES[kind] > room:
            part, room = part + 1, ROOM
        room -= TAKES[kind]
        found[counter] = part
    return found


def _add(
    chunk: Chunk, unknown: Mapping[str, Kind], known: Mapping[str, Column], partitions: str, execute: Execute
) -> None:
    group = chunk.system, chunk.group
    tables = _tables(group, execute)
    taken = [sum(TAKES[column.kind] for column in known.values() if column.table == table) for table in tables]
    names = named(unknown, [column.name for column in known.values()])  # unique in the group: its view has them all
    of_part: dict[int, list[str]] = {}
    for counter, part in parts(unknown, taken).items():
        of_part.setdefault(part, []).append(counter)
    for part, counters in of_part.items():
        table = _claimed(group, part, execute)
        execute(_create(table) + partitions)
        definitions = {c: _definition(names[c], unknown[c], chunk.units.get(c, "")) for c in counters}
        add_columns(table, {counter: names[counter] for counter in counters}, definitions, execute)


def add_columns(table: str, names: Mapping[str, str], definitions: Mapping[str, str], execute: Execute) -> None:
    """In one ALTER, and told to pm_counter; both by counter, or what else a column is made for."""
    there = present([table], execute)
    added = [
        f"ADD COLUMN {definitions[counter]}"
        for counter, column in names.items()
        if (table, column.lower()) not in there  # else: made, but a crash kept it from pm_counter
    ]
    if added:
        execute(f"ALTER TABLE {quoted(table)} {', '.join(added)}")
    for counter, column in names.items():
        execute(
            "INSERT INTO pm_counter VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE counter = counter",
            (table, counter, column),
        )


def _widen(columns: Mapping[Column, Kind], execute: Execute) -> None:
    def table_of(column: Column) -> str:
        return column.table

    for table, some in groupby(sorted(columns, key=table_of), key=table_of):
        units = {
            name.lower(): unit
            for name, unit in execute(
                "SELECT column_name, column_comment FROM information_schema.columns "
                "WHERE table_schema = DATABASE() AND table_name = %s",
                (table,),
            )
        }
        changes = [f"MODIFY COLUMN {_definition(c.name, columns[c], units[c.name.lower()])}" for c in some]
        execute(f"ALTER TABLE {quoted(table)} {', '.join(changes)}")


def _definition(name: str, kind: Kind, unit: str) -> str:
    return f"{quoted(name)} {SQL_TYPES[kind]} NULL COMMENT {_string(unit[:LONGEST_UNIT])}"


def _string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _claimed(group: Group, part: int, execute: Execute) -> str:
    """The name of one of the group's tables, or of its view, given to it for ever."""
    suffix = {FIRST: "", VIEW: "_all"}.get(part, f"_{part}")
    plain = table_name(*group).lower()[: LONGEST - len(suffix)] + suffix
    for name in (plain, marked(plain, group[1] + suffix)):  # the second when another has the first, but for case
        execute(
            "INSERT INTO pm_group VALUES (%s, %s, %s, %s) ON DUPLICATE KEY UPDATE measinfo = measinfo",
            (*group, part, name),
        )
        found = execute(
            "SELECT `table_name` FROM pm_group WHERE `system` = %s AND measinfo = %s AND part = %s", (*group, part)
        )
        if found:
            break
    return str(found[0][0])


def _create(table: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted(table)} ("
        "ts DATETIME NOT NULL COMMENT 'end of the granularity period, UTC', "
        "obj INT UNSIGNED NOT NULL COMMENT 'pm_object.id', "
        "gp_s INT UNSIGNED NOT NULL COMMENT 'granularity period', "
        "suspect TINYINT(1) NOT NULL, "
        "ver BIGINT NOT NULL COMMENT 'of the newest file in the row', "
        "PRIMARY KEY (ts, obj, gp_s)) CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC"
    )


def _view(view: str, first: str, columns: Iterable[Column]) -> str:
    """All parts side by side."""
    placed = sorted(columns, key=lambda column: (column.table, column.name))
    others = sorted({column.table for column in placed} - {first})
    names = [f"{quoted(first)}.{name} AS {name}" for name in ("ts", "obj", "gp_s", "suspect", "ver")]
    names += [f"{quoted(column.table)}.{quoted(column.name)} AS {quoted(column.name)}" for column in placed]
    joins = "".join(f" LEFT JOIN {quoted(table)} USING (ts, obj, gp_s)" for table in others)
    return f"CREATE OR REPLACE VIEW {quoted(view)} AS SELECT {', '.join(names)} FROM {quoted(first)}{joins}"


def named(counters: Iterable[str], there: Iterable[str]) -> dict[str, str]:
    """Columns for new counters, beside those that are there."""
    taken = {name.lower() for name in there}
    names = {}
    for counter in counters:
        names[counter] = column_name(counter, taken)
        taken.add(names[counter].lower())
    return names


def _tables(group: Group, execute: Execute) -> list[str]:
    found = execute(
        "SELECT `table_name` FROM pm_group WHERE `system` = %s AND measinfo = %s AND part >= %s ORDER BY part",
        (*group, FIRST),
    )
    return [name for (name,) in found]


def _read(group: Group, execute: Execute) -> dict[str, Column]:
    """The group's columns by counter."""
    tables = _tables(group, execute)
    there = present(tables, execute)
    return {
        counter: Column(table, name, there[table, name.lower()])
        for table, counter, name in execute(
            f"SELECT `table_name`, counter, `column_name` FROM pm_counter WHERE `table_name` IN ({marks(tables)})",
            tables,
        )
        if (table, name.lower()) in there
    }


def present(tables: Sequence[str], execute: Execute) -> dict[tuple[str, str], Kind]:
    """The columns there are, in lower case."""
    return {
        (table, name.lower()): _kind(data_type, collation)
        for table, name, data_type, collation in execute(
            "SELECT table_name, column_name, data_type, collation_name FROM information_schema.columns "
            f"WHERE table_schema = DATABASE() AND table_name IN ({marks(tables)})",
            tables,
        )
    }


def _kind(data_type: str, collation: str | None) -> Kind:
    """MariaDB's JSON is a LONGTEXT with a check, told from any other by its collation."""
    if data_type == "longtext" and collation == "utf8mb4_bin":
        return "vector"
    return {"double": "number", "bigint": "integer", "json": "vector"}.get(data_type, "text")  # type: ignore[return-value]


def marks(values: Sequence[str]) -> str:
    return ", ".join(["%s"] * len(values))
