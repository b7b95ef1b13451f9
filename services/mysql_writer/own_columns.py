"""The columns of pmflow's own tables, which are added when a newer version of pmflow has more of them."""

from collections.abc import Mapping

from services.mysql_writer.catalog import present_columns
from services.mysql_writer.connection import Connection
from services.mysql_writer.ddl import quoted_identifier
from shared.sinks.keeper import OwnColumnKind

OWN_TYPES: Mapping[OwnColumnKind, str] = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "text": "TEXT",
    "json": "LONGTEXT",
    "time": "DATETIME(3)",
}


def own_column_list(columns: Mapping[str, OwnColumnKind]) -> list[str]:
    """Returns the definitions of the columns; all may be NULL, so that an older pmflow can still insert rows."""
    return [f"{quoted_identifier(name)} {OWN_TYPES[kind]} NULL" for name, kind in columns.items()]


def add_own_columns(connection: Connection, table: str, columns: Mapping[str, OwnColumnKind]) -> None:
    """Adds the columns that the table lacks."""
    with connection.ddl(table) as execute:
        present = present_columns([table], execute)
        lacking = {name: kind for name, kind in columns.items() if (table, name) not in present}
        if lacking:
            changes = (f"ADD COLUMN {definition}" for definition in own_column_list(lacking))
            execute(f"ALTER TABLE {table} {', '.join(changes)}")
