"""The columns of pmflow's own tables, which are added when a newer version of pmflow has more of them."""

from collections.abc import Mapping

from services.ch_bridge.ddl import quoted_identifier
from shared.sinks.keeper import OwnColumnKind

OWN_TYPES: Mapping[OwnColumnKind, str] = {
    "integer": "Nullable(Int64)",
    "number": "Nullable(Float64)",
    "text": "Nullable(String)",
    "json": "Nullable(String)",
    "time": "Nullable(DateTime64(3, 'UTC'))",
}


def add_own_columns(table: str, on: str, columns: Mapping[str, OwnColumnKind]) -> str:
    """Returns the statement that adds the columns that the table lacks; `on` is the ON CLUSTER clause."""
    added = [f"ADD COLUMN IF NOT EXISTS {quoted_identifier(name)} {OWN_TYPES[kind]}" for name, kind in columns.items()]
    return f"ALTER TABLE {table}{on} {', '.join(added)}"
