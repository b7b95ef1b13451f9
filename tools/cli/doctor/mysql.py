"""Checks MySQL: login, version, rights, variables that the writers depend on, space, and clock."""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from time import time
from typing import Any

import pymysql

from services.mysql_writer.operate import BYTES_PER_STATEMENT, Mysql, connect, mysql_of, privileges
from tools.cli.doctor.brokers import is_loopback
from tools.cli.doctor.clocks import clock_finding
from tools.cli.doctor.findings import Finding, Installation

MYSQL_ANSWER_S = 10.0
VIEW_RIGHT = "CREATE VIEW"
"""Right without which all rows are stored, and only the views of groups with several tables are missing."""
MYSQL_RIGHTS = frozenset(privileges("writer")) - {VIEW_RIGHT}
"""Rights in the database without which rows are not stored."""
OLDEST_MYSQL = {"MySQL": (8, 0), "MariaDB": (10, 6)}
TESTED_MYSQL = {"MySQL": "8.0", "MariaDB": "10.11"}
SAFE_PACKET_BYTES = 16 << 20
"""A row of a group with thousands of counters, some of them long texts, is one statement."""
LEAST_FREE_SHARE = 0.1
MYSQL_REMEDIES = {
    1044: "run the statements that pmflow grants mysql prints, or correct mysql.database",
    1045: "check mysql.user and mysql.password or password-file; the server must admit the user from this host",
    1049: "CREATE DATABASE {database} CHARACTER SET utf8mb4, or give the user the right to create it",
    1698: "the server admits this user only through its socket: create a user with a password",
    2003: "check mysql.host and mysql.port, and that the server runs",
    2026: "check mysql.tls and mysql.ca-file",
}
"""Error code of the server or the client -> what to do."""
VARIABLES = (
    "version", "max_allowed_packet", "read_only", "innodb_flush_log_at_trx_commit", "system_time_zone", "datadir",
    "max_connections",
)  # fmt: skip


def check_mysql(installation: Installation) -> Iterator[Finding]:
    """Yields what is wrong with the login and the server."""
    settings = mysql_of(installation.settings)
    server = f"MySQL {settings.host}:{settings.port}"
    try:
        connection = connect(settings, None, MYSQL_ANSWER_S)
    except (pymysql.Error, OSError) as failure:
        yield mysql_refusal(settings, failure)
        return
    with connection, connection.cursor() as cursor:
        asked_s = time()
        cursor.execute("SELECT UNIX_TIMESTAMP(NOW(6)), @@global.time_zone")
        ((server_s, zone),) = cursor.fetchall()
        cursor.execute(f"SELECT {', '.join(f'@@global.{name}' for name in VARIABLES)}")
        variables = dict(zip(VARIABLES, cursor.fetchone() or (), strict=True))
        cursor.execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (settings.database,))
        exists = bool(cursor.fetchall())
        cursor.execute("SHOW GRANTS")
        grants = [str(grant) for (grant,) in cursor.fetchall()]
    yield Finding("ok", f"{server} admits user {settings.user!r}")
    yield from database_findings(settings, grants, exists=exists)
    yield from variable_findings(variables, settings)
    yield _time_zone(str(zone), str(variables["system_time_zone"]))
    yield clock_finding(server, float(server_s), asked_s)
    yield _space(settings, str(variables["datadir"]))


def mysql_refusal(settings: Mysql, failure: Exception) -> Finding:
    """Returns why the server cannot be used."""
    is_of_server = isinstance(failure, pymysql.Error) and failure.args
    code, text = (failure.args[0], failure.args[-1]) if is_of_server else (0, str(failure))
    remedy = MYSQL_REMEDIES.get(code, "check the section mysql, and that the server runs").format(
        database=settings.database
    )
    meaning = "counters wait in Kafka, and files stay parsed"
    return Finding("error", f"MySQL {settings.host}:{settings.port}, user {settings.user!r}: {text}", meaning, remedy)


def database_findings(settings: Mysql, grants: Iterable[str], *, exists: bool) -> Iterator[Finding]:
    """Yields whether the user may do in the database what the writer does."""
    granted, has_roles = mysql_granted(grants, settings.database)
    missing = sorted(MYSQL_RIGHTS - granted)
    if not exists and "CREATE" not in granted:
        text = f"database {settings.database!r} does not exist, or user {settings.user!r} may not see it"
        remedy = f"CREATE DATABASE {settings.database} CHARACTER SET utf8mb4, and grant the rights in it"
        yield Finding("error", text, "counters wait in Kafka", remedy)
    elif missing and has_roles:
        text = f"user {settings.user!r} has roles; rights in {settings.database!r} that only they may give: "
        yield Finding("warning", text + ", ".join(missing), "without them, tables are not created or rows not stored")
    elif missing:
        remedy = f"GRANT {', '.join(missing)} ON `{settings.database}`.* TO {settings.user}"
        text = f"user {settings.user!r} lacks in {settings.database!r}: {', '.join(missing)}"
        yield Finding("error", text, "tables are not created, or rows not stored", remedy)
    elif VIEW_RIGHT not in granted and not has_roles:
        text = f"user {settings.user!r} lacks CREATE VIEW in {settings.database!r}"
        remedy = f"GRANT CREATE VIEW ON `{settings.database}`.* TO {settings.user}"
        yield Finding("warning", text, "rows are stored; the views of groups with several tables are missing", remedy)
    else:
        state = "exists" if exists else "will be created"
        yield Finding("ok", f"database {settings.database!r} {state}, and the user has the rights in it")


def mysql_granted(grants: Iterable[str], database: str) -> tuple[set[str], bool]:
    """Returns the rights in a database that SHOW GRANTS lists, and whether the user also has roles.

    >>> sorted(mysql_granted(["GRANT SELECT, INSERT ON `pm%`.* TO `x`@`%`"], "pmflow")[0])
    ['INSERT', 'SELECT']
    """
    found: set[str] = set()
    has_roles = False
    for grant in grants:
        match = re.match(r"GRANT (.+?) ON (\S+)\.\* TO ", grant)
        if match is None:
            has_roles = has_roles or " ON " not in grant
        elif match[2] == "*" or _matches(match[2].strip("`"), database):
            found |= {right.strip() for right in match[1].split(",")}
    return ({*found, *MYSQL_RIGHTS, VIEW_RIGHT} if "ALL PRIVILEGES" in found else found), has_roles


def _matches(pattern: str, database: str) -> bool:
    parts = re.findall(r"\\.|.", pattern)
    regex = "".join(".*" if p == "%" else "." if p == "_" else re.escape(p.removeprefix("\\")) for p in parts)
    return re.fullmatch(regex, database, re.IGNORECASE) is not None


def variable_findings(variables: Mapping[str, Any], settings: Mysql) -> Iterator[Finding]:
    """Yields what is wrong with the version and the variables of the server."""
    yield _version(str(variables["version"]))
    packet = int(variables["max_allowed_packet"])
    if packet < SAFE_PACKET_BYTES:
        is_small = packet < 2 * BYTES_PER_STATEMENT
        meaning = "rows are set aside as too large" if is_small else "very wide rows with long texts may be set aside"
        remedy = f"SET PERSIST max_allowed_packet = {4 * SAFE_PACKET_BYTES}, and the same in the server's configuration"
        yield Finding("error" if is_small else "warning", f"max_allowed_packet is {packet:,} bytes", meaning, remedy)
    else:
        yield Finding("ok", f"max_allowed_packet is {packet:,} bytes")
    if str(variables["read_only"]) in {"1", "ON"}:
        meaning = "counters wait in Kafka"
        remedy = f"name the primary server in mysql.host; {settings.host} may be a replica"
        yield Finding("error", "the server is read-only", meaning, remedy)
    if str(variables["innodb_flush_log_at_trx_commit"]) != "1":
        text = f"innodb_flush_log_at_trx_commit is {variables['innodb_flush_log_at_trx_commit']}"
        meaning = "files move to done/ up to a second before their rows are durable; a crash loses these rows"
        yield Finding("warning", text, meaning, "SET PERSIST innodb_flush_log_at_trx_commit = 1")


def _version(version: str) -> Finding:
    kind = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    text = f"the server is {kind} {version}; {kind} {TESTED_MYSQL[kind]} is tested"
    if numbers < OLDEST_MYSQL[kind]:
        return Finding("error", text, "statements of the writer are refused", f"update {kind}")
    return Finding("ok", text)


def _time_zone(zone: str, system_zone: str) -> Finding:
    shown = f"{zone} ({system_zone})" if zone == "SYSTEM" else zone
    if (system_zone if zone == "SYSTEM" else zone) in {"UTC", "+00:00", "GMT", "Etc/UTC"}:
        return Finding("ok", f"time zone of the server: {shown}")
    meaning = "times are stored in UTC, so queries that compare them with NOW() are wrong by hours"
    remedy = "readers: SET time_zone = '+00:00' or use UTC_TIMESTAMP(); or SET PERSIST time_zone = '+00:00'"
    return Finding("warning", f"time zone of the server: {shown}", meaning, remedy)


def _space(settings: Mysql, data: str) -> Finding:
    """Returns the free space, if the server's data is on this machine; MySQL itself does not tell it."""
    if not is_loopback(f"{settings.host}:0") or not Path(data).is_dir():
        return Finding("ok", "free space of MySQL: unknown, as the server does not tell it; watch its disk")
    return space_finding("MySQL", *shutil.disk_usage(data)[::2])


def space_finding(whose: str, total: int, free: int) -> Finding:
    """Returns whether a disk has enough space left."""
    text = f"{whose}: {free / (1 << 30):,.1f} of {total / (1 << 30):,.1f} GiB are free"
    if free < LEAST_FREE_SHARE * total:
        meaning = "with a full disk nothing is stored, and counters wait in Kafka"
        return Finding("warning", text, meaning, "add space, or set retention-days of the systems")
    return Finding("ok", text)
