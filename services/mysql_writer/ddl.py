"""SQL that creates and alters tables, columns and views. Pure: no database access."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.sinks.values import ColumnKind

OWN_TABLES = (
    """CREATE TABLE IF NOT EXISTS pm_object (
        id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        digest BINARY(16) NOT NULL COMMENT 'of system, element and ldn: too long for a key themselves',
        `system` VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
        element TEXT NOT NULL COMMENT 'distinguished name of the managed element',
        ldn TEXT NOT NULL COMMENT 'measObjLdn',
        UNIQUE KEY (digest)
    ) CHARACTER SET utf8mb4""",
    """CREATE TABLE IF NOT EXISTS pm_group (
        digest BINARY(16) NOT NULL COMMENT 'of system and measinfo: too long for a key, and exact to the last space',
        part SMALLINT NOT NULL COMMENT '1: the first table; 2, 3 ..: the next ones; 0, -1 ..: views of all',
        `system` VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
        measinfo VARCHAR(1000) COLLATE utf8mb4_bin NOT NULL COMMENT 'measInfoId',
        `table_name` VARCHAR(64) NOT NULL,
        PRIMARY KEY (digest, part),
        UNIQUE KEY (`table_name`),
        KEY (`system`)
    ) CHARACTER SET utf8mb4""",
    """CREATE TABLE IF NOT EXISTS pm_counter (
        `table_name` VARCHAR(64) NOT NULL,
        digest BINARY(16) NOT NULL COMMENT 'of counter',
        counter VARCHAR(1000) COLLATE utf8mb4_bin NOT NULL COMMENT 'measType',
        `column_name` VARCHAR(64) NOT NULL,
        PRIMARY KEY (`table_name`, digest),
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
"""Statements that create pmflow's own tables: object dictionary, catalogue of tables and columns, positions."""
COLUMN_TYPES: Mapping[ColumnKind, str] = {
    "number": "DOUBLE",
    "integer": "BIGINT",
    "vector": "JSON",
    "text": "LONGTEXT COLLATE utf8mb4_unicode_ci",
}
LONGEST_UNIT = 1024
"""Most characters of a column's comment."""
ROW_COLUMNS = ("ts", "obj", "gp_s", "suspect", "ver", "parsed_s")
"""The columns of every counter table besides its counters; the first three are the primary key."""


@dataclass(frozen=True, slots=True)
class CounterColumn:
    """The column that stores one counter."""

    table: str
    name: str
    kind: ColumnKind


def create_table(table: str) -> str:
    """Returns the statement that creates a counter table without counters."""
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted_identifier(table)} ("
        "ts DATETIME NOT NULL COMMENT 'end of the granularity period, UTC', "
        "obj INT UNSIGNED NOT NULL COMMENT 'pm_object.id', "
        "gp_s INT UNSIGNED NOT NULL COMMENT 'granularity period', "
        "suspect TINYINT(1) NOT NULL, "
        "ver BIGINT NOT NULL COMMENT 'of the newest file in the row', "
        "parsed_s INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'when that file was parsed', "
        "PRIMARY KEY (ts, obj, gp_s)) CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC"
    )


def column_definition(name: str, kind: ColumnKind, unit: str) -> str:
    """Returns the definition of a counter's column; its unit becomes the comment."""
    return f"{quoted_identifier(name)} {COLUMN_TYPES[kind]} NULL COMMENT {string_literal(unit[:LONGEST_UNIT])}"


def kind_of_column(data_type: str, collation: str | None) -> ColumnKind:
    """Returns the kind of a column as information_schema describes it.

    MariaDB's JSON is a LONGTEXT with a check; its collation distinguishes it from a text column.
    """
    if data_type == "longtext" and collation == "utf8mb4_bin":
        return "vector"
    return {"double": "number", "bigint": "integer", "json": "vector"}.get(data_type, "text")  # type: ignore[return-value]


def placeholders(values: Collection[object]) -> str:
    """Returns one `%s` per value, comma-separated."""
    return ", ".join(["%s"] * len(values))


def quoted_identifier(name: str) -> str:
    """Returns a name of a table or column, quoted for SQL."""
    return "`" + name.replace("`", "``") + "`"


def string_literal(text: str) -> str:
    """Returns a text, quoted for SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
