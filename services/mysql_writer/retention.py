"""Creates the day partitions of a system's tables ahead of time and drops those whose rows are all too old."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date

from services.mysql_writer.connection import STATEMENT_TIMEOUT_S, Connection, Execute
from services.mysql_writer.ddl import OWN_TABLES, placeholders, quoted_identifier
from services.mysql_writer.partitions import (
    LATER,
    initial_days,
    partition_clause,
    partition_day,
    partition_list,
    partition_name,
    partition_plan,
)
from services.mysql_writer.settings import Mysql
from shared.errors import Hopeless, Unreachable
from shared.sinks import metrics

log = logging.getLogger(__name__)
FIX = "run `pmflow partition` to partition it"
TablePartitions = Mapping[str, Sequence[str]]
"""Partition names by table; empty for a table without partitions."""


class Retention:
    """Maintains partitions over a connection of its own.

    Any number of instances may run at the same time, also while writers run: a lock per table keeps them apart.
    """

    def __init__(self, settings: Mysql, timeout_s: float | None = STATEMENT_TIMEOUT_S) -> None:
        self.connection = Connection(settings, OWN_TABLES, timeout_s)
        self.reported: set[str] = set()
        """Tables without partitions that have been logged already."""

    def keep(self, system: str, retention_days: int, today: date) -> None:
        """Creates and drops the partitions of the system's tables; what fails now is tried again at the next check."""
        try:
            tables = self._tables(system)
        except Unreachable as error:
            log.warning(
                "partitions not changed, next check tries again", extra={"system": system, "reason": str(error)}
            )
            return
        for table, partitions in tables.items():
            days = list(filter(None, map(partition_day, partitions)))
            if days:
                changes = partition_plan(days, today, retention_days)
                if changes.create or changes.drop:
                    self._change(table, retention_days, today)
            elif retention_days and table not in self.reported:
                self.reported.add(table)
                log.warning("table without day partitions keeps all rows", extra={"table": table, "fix": FIX})

    def unpartitioned(self, system: str) -> list[str]:
        """Returns the tables without partitions, which were created before the system had a retention.

        Raises:
            Unreachable: the database does not answer.
        """
        return [table for table, partitions in self._tables(system).items() if not partitions]

    def partition(self, table: str, retention_days: int, today: date) -> None:
        """Partitions a table; its writers wait while the server copies it.

        Raises:
            Unreachable: the database does not answer, or another process holds the table's lock.
            Hopeless: the server refuses the statement.
        """
        # The oldest partition holds all older rows; the next check drops it.
        days = initial_days(today, retention_days + 1)
        with self.connection.ddl(table) as execute:
            if not _partitions([table], execute)[table]:
                execute(f"ALTER TABLE {quoted_identifier(table)}{partition_clause(days)}")
                _report(table, days, [])

    def close(self) -> None:
        self.connection.close()

    def _tables(self, system: str) -> TablePartitions:
        with self.connection.transaction() as execute:
            tables = execute(
                "SELECT `table_name` FROM pm_group WHERE `system` = %s AND part > 0 ORDER BY `table_name`", (system,)
            )
            return _partitions([table for (table,) in tables], execute)

    def _change(self, table: str, retention_days: int, today: date) -> None:
        try:
            with self.connection.ddl(table) as execute:
                days = list(filter(None, map(partition_day, _partitions([table], execute)[table])))
                changes = partition_plan(days, today, retention_days)  # again: another process may have been faster
                alter = f"ALTER TABLE {quoted_identifier(table)}"
                if changes.create:
                    execute(f"{alter} REORGANIZE PARTITION {LATER} INTO {partition_list(changes.create)}")
                if changes.drop:
                    execute(f"{alter} DROP PARTITION {', '.join(map(partition_name, changes.drop))}")
                _report(table, changes.create, changes.drop)
        except (Unreachable, Hopeless) as error:
            log.warning("partitions not changed, next check tries again", extra={"table": table, "reason": str(error)})


def _partitions(tables: Sequence[str], execute: Execute) -> TablePartitions:
    found: dict[str, list[str]] = {table: [] for table in tables}
    if tables:
        for table, partition in execute(
            "SELECT table_name, partition_name FROM information_schema.partitions WHERE table_schema = DATABASE() "
            f"AND partition_name IS NOT NULL AND table_name IN ({placeholders(tables)}) "
            "ORDER BY partition_ordinal_position",
            tables,
        ):
            found[table].append(partition)
    return found


def _report(table: str, created: Sequence[date], dropped: Sequence[date]) -> None:
    metrics.SCHEMA_CHANGES.labels("mysql", "partition created").inc(len(created))
    metrics.SCHEMA_CHANGES.labels("mysql", "partition dropped").inc(len(dropped))
    if created or dropped:
        names = {"created": [*map(partition_name, created)], "dropped": [*map(partition_name, dropped)]}
        log.info("partitions changed", extra={"table": table, **names})
