"""The privileges in MySQL that the statements of this service need, and the statements that grant them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from services.mysql_writer.ddl import quoted_identifier, string_literal

Role = Literal["writer", "reader"]
NEEDED_BY: Mapping[str, tuple[str, ...]] = {
    "SELECT": ("SELECT",),
    "INSERT": ("INSERT",),
    "ON DUPLICATE KEY UPDATE": ("INSERT", "UPDATE", "SELECT"),
    "UPDATE": ("UPDATE", "SELECT"),
    "DELETE": ("DELETE", "SELECT"),
    "CREATE DATABASE": ("CREATE",),
    "CREATE TABLE": ("CREATE",),
    "ALTER TABLE": ("ALTER",),
    "ADD COLUMN": ("ALTER",),
    "MODIFY COLUMN": ("ALTER",),
    "REORGANIZE PARTITION": ("ALTER", "CREATE", "INSERT"),
    "DROP PARTITION": ("DROP",),
    "CREATE OR REPLACE VIEW": ("CREATE VIEW", "DROP", "SELECT"),
}
"""Beginning of a statement or clause that the writer uses -> the privileges in its database that it needs.

A test finds the statements in the code, so that this list is complete and has nothing too much.
What it uses besides, every user may: SET SESSION, GET_LOCK, COMMIT, and information_schema about its own tables.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlUser:
    """A user to create, and what it is for."""

    role: Role
    database: str
    user: str
    host: str = "%"
    """The hosts from which it may connect, as MySQL writes them."""
    password: str | None = None
    """None: the user exists already."""
    require_ssl: bool = False


def privileges(role: Role) -> list[str]:
    """Returns the privileges that a role needs in the database of the counters."""
    if role == "reader":
        return ["SELECT"]
    return sorted({privilege for needed in NEEDED_BY.values() for privilege in needed})


def grant_statements(wanted: MysqlUser) -> Iterator[str]:
    """Yields the statements that create a user with the privileges of its role; they may be repeated.

    A database is named by a pattern in GRANT, in which an underscore would stand for any character.
    """
    account = f"{string_literal(wanted.user)}@{string_literal(wanted.host)}"
    if wanted.role == "writer":
        yield f"CREATE DATABASE IF NOT EXISTS {quoted_identifier(wanted.database)} CHARACTER SET utf8mb4"
    if wanted.password is not None:
        word = string_literal(wanted.password)
        yield f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {word}"
        yield f"ALTER USER {account} IDENTIFIED BY {word}"
    if wanted.require_ssl:
        yield f"ALTER USER {account} REQUIRE SSL"
    pattern = quoted_identifier(wanted.database.replace("\\", "\\\\").replace("_", r"\_").replace("%", r"\%"))
    yield f"GRANT {', '.join(privileges(wanted.role))} ON {pattern}.* TO {account}"
