"""Checks ClickHouse, if a system uses it: login, version, rights, space, and clock."""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from time import time
from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError

from services.ch_bridge.operate import (
    Clickhouse,
    address,
    clickhouse_of,
    client_of,
    privileges,
    server_client_of,
    without_password,
)
from tools.cli.doctor.clocks import clock_finding
from tools.cli.doctor.findings import Finding, Installation
from tools.cli.doctor.mysql import space_finding

CLICKHOUSE_RIGHTS = frozenset(privileges("writer"))
OLDEST_CLICKHOUSE = (24, 3)
TESTED_CLICKHOUSE = "26.9"
CLICKHOUSE_REMEDIES = {
    "AUTHENTICATION_FAILED": "check user and password in clickhouse.url",
    "UNKNOWN_DATABASE": "CREATE DATABASE, or give the user the right to create it",
    "ACCESS_DENIED": "GRANT the rights in the database to this user",
}
"""Name of the server's error -> what to do."""
LARGEST_DISK = 1 << 60
"""Size of a disk that has no limit, such as an object store."""
LONGEST_ERROR = 300


def check_clickhouse(installation: Installation) -> Iterator[Finding]:
    """Yields what is wrong with the login and the server."""
    settings = clickhouse_of(installation.settings)
    if not any(system.is_using_clickhouse for system in installation.settings.systems):
        yield Finding("ok", "not used: no system has isUsingClickhouse")
        return
    if settings.url.startswith("chdb:"):
        yield Finding("skipped", "not checked, as only the ch_bridge may open the embedded engine of clickhouse.url")
        return
    try:
        with closing(server_client_of(settings)) as client:
            yield Finding("ok", f"ClickHouse admits this login at {without_password(settings.url)}")
            yield from _server(client, settings)
    except (ClickHouseError, OSError) as failure:
        yield clickhouse_refusal(settings, failure)


def clickhouse_refusal(settings: Clickhouse, failure: Exception) -> Finding:
    """Returns why the server cannot be used."""
    text = " ".join(str(failure).split())
    if reason := re.search(r"\[Errno -?\d+\] [^\"')]+|[Cc]onnect timeout|certificate verify failed[^\"')]*", text):
        text = reason[0]
    name = next((name for name in CLICKHOUSE_REMEDIES if name in text), "")
    remedy = CLICKHOUSE_REMEDIES.get(name, "check clickhouse.url, and that the server runs")
    meaning = "counters wait in Kafka; files wait too, if complete-on names clickhouse"
    return Finding("error", f"ClickHouse {without_password(settings.url)}: {text[:LONGEST_ERROR]}", meaning, remedy)


def _server(client: Any, settings: Clickhouse) -> Iterator[Finding]:
    asked_s = time()
    ((server_s, version, zone),) = client.query(
        "SELECT toUnixTimestamp64Milli(now64(3)), version(), timezone()"
    ).result_rows
    yield clickhouse_version_finding(str(version))
    yield clock_finding("ClickHouse", float(server_s) / 1000, asked_s)
    yield Finding("ok", f"time zone of the server: {zone}; columns of times name UTC themselves")
    yield from _disks(client)
    yield database_finding(settings, client)


def _disks(client: Any) -> Iterator[Finding]:
    try:
        disks = client.query("SELECT name, free_space, total_space FROM system.disks").result_rows
    except ClickHouseError:
        yield Finding("ok", "free space of ClickHouse: unknown, as this user may not read system.disks")
        return
    for name, free, total in disks:
        if total and total < LARGEST_DISK:
            yield space_finding(f"ClickHouse, disk {name}", int(total), int(free))


def clickhouse_version_finding(version: str) -> Finding:
    """Returns whether pmflow works with a version."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    text = f"the server is ClickHouse {version}; {TESTED_CLICKHOUSE} is tested"
    if numbers < OLDEST_CLICKHOUSE:
        return Finding("warning", text, "statements may be refused", "update ClickHouse")
    return Finding("ok", text)


def database_finding(settings: Clickhouse, client: Any) -> Finding:
    """Returns whether the user may do in the database what the bridge does."""
    database = address(settings.url)[1]
    granted = clickhouse_granted([str(grant) for (grant,) in client.query("SHOW GRANTS").result_rows], database)
    missing = sorted(CLICKHOUSE_RIGHTS - granted)
    if missing:
        remedy = "run the statements that pmflow grants clickhouse prints"
        return Finding(
            "error",
            f"rights missing in database {database!r}: {', '.join(missing)}",
            "tables are not created, or rows not stored",
            remedy,
        )
    try:
        client_of(settings).close()
    except ClickHouseError as failure:
        if "UNKNOWN_DATABASE" not in str(failure):
            raise
        if "CREATE DATABASE" in granted:
            return Finding("ok", f"database {database!r} will be created")
        text = f"database {database!r} does not exist, and the user may not create it"
        return Finding("error", text, "counters wait in Kafka", f"CREATE DATABASE {database}")
    return Finding("ok", f"database {database!r} exists, and the user has the rights in it")


def clickhouse_granted(grants: Iterable[str], database: str) -> set[str]:
    """Returns the rights in a database that SHOW GRANTS lists; a group such as CREATE or ALL as its members.

    >>> sorted(clickhouse_granted(["GRANT SELECT, CREATE ON pm.* TO x"], "pm"))
    ['CREATE DATABASE', 'CREATE TABLE', 'CREATE VIEW', 'SELECT']
    """
    found: set[str] = set()
    for grant in grants:
        match = re.match(r"GRANT (.+) ON (\S+) TO ", grant)
        if match is None or match[2] not in {"*.*", f"{database}.*", f"`{database}`.*"}:
            continue
        for right in re.sub(r"\([^)]*\)", "", match[1]).split(","):
            found.add(right.strip())
    every = {*CLICKHOUSE_RIGHTS, "CREATE DATABASE"}
    groups = {name: {one for one in every if one.startswith(f"{name} ")} for name in ("CREATE", "DROP", "ALTER")}
    groups["ALTER TABLE"] = groups["ALTER"]
    groups["ALTER COLUMN"] = {one for one in groups["ALTER"] if one.endswith(" COLUMN")}
    for name in ("ALL", "ALL PRIVILEGES", "CURRENT GRANTS"):
        groups[name] = every
    for name, members in groups.items():
        if name in found:
            found = (found - {name}) | members
    return found
