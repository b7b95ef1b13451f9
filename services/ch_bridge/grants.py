"""The privileges in ClickHouse that the statements of this service need, and the statements that grant them. Pure."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

from services.ch_bridge.ddl import Deployment, create_database, quoted_identifier, string_literal

Role = Literal["writer", "reader"]
NEEDED_BY: Mapping[str, tuple[str, ...]] = {
    "SELECT": ("SELECT",),
    "INSERT": ("INSERT",),
    "DELETE": ("ALTER DELETE", "SELECT"),
    "CREATE DATABASE": (),
    "CREATE TABLE": ("CREATE TABLE",),
    "ALTER TABLE": (),
    "CREATE VIEW": ("CREATE VIEW", "SELECT"),
    "CREATE OR REPLACE VIEW": ("CREATE VIEW", "DROP VIEW", "SELECT"),
    "ADD COLUMN": ("ALTER ADD COLUMN",),
    "MODIFY COLUMN": ("ALTER MODIFY COLUMN",),
    "MODIFY TTL": ("ALTER TTL",),
    "REMOVE TTL": ("ALTER TTL",),
}
"""Beginning of a statement or clause that the writer uses -> the privileges in its database that it needs.

A test finds the statements in the code, so that this list is complete and has nothing too much. The writer creates the
database only where it is missing, and `grant_statements` creates it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickhouseUser:
    """A user to create, and what it is for."""

    role: Role
    database: str
    user: str
    host: str = ""
    """The network, or the pattern of names, from which it may connect; empty: from anywhere."""
    password: str | None = None
    """None: the user exists already."""
    cluster: str = ""


def privileges(role: Role) -> list[str]:
    """Returns the privileges that a role needs in the database of the counters."""
    if role == "reader":
        return ["SELECT"]
    return sorted({privilege for needed in NEEDED_BY.values() for privilege in needed})


def grant_statements(wanted: ClickhouseUser) -> Iterator[str]:
    """Yields the statements that create a user with the privileges of its role; they may be repeated.

    The password is sent as a digest, because servers log statements.
    """
    deployment, user = Deployment(wanted.cluster), quoted_identifier(wanted.user)
    if wanted.role == "writer":
        yield create_database(wanted.database, deployment)
    if wanted.password is not None:
        digest = hashlib.sha256(wanted.password.encode()).hexdigest()
        login = f"IDENTIFIED WITH sha256_hash BY '{digest}' HOST {_host(wanted.host)}"
        yield f"CREATE USER IF NOT EXISTS {user}{deployment.on} {login}"
        yield f"ALTER USER {user}{deployment.on} {login}"
    database = quoted_identifier(wanted.database)
    yield f"GRANT{deployment.on} {', '.join(privileges(wanted.role))} ON {database}.* TO {user}"
    if wanted.cluster and wanted.role == "writer":
        yield f"GRANT{deployment.on} CLUSTER ON *.* TO {user}"


def _host(host: str) -> str:
    if not host:
        return "ANY"
    try:
        return f"IP {string_literal(str(ip_network(host, strict=False)))}"
    except ValueError:
        return f"LIKE {string_literal(host)}"
