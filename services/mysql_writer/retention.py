"""Retention: the day partitions of a system's tables, made ahead, and dropped when all in them is too old."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date

from services.mysql_writer.connection import ANSWER_S, Connection, Execute
from services.mysql_writer.partitions import LATER, day_of, listed, name, new, partitioned, plan
from services.mysql_writer.rows import quoted
from services.mysql_writer.schema import OWN_TABLES, marks
from services.mysql_writer.settings import Mysql
from shared.errors import Hopeless, Unreachable
from shared.sinks import metrics

log = logging.getLogger(__name__)
Partitions = Mapping[str, Sequence[str]]
"""Of each table, by name; none of one that is in one piece."""


class Retention:
    """One connection, one owner; any number may run beside each other, and beside all writers."""

    def __init__(self, settings: Mysql, answer_s: float | None = ANSWER_S) -> None:
        self.connection = Connection(settings, OWN_TABLES, answer_s)
        self.told: set[str] = set()
        """Tables we cannot keep, each told of once."""

    def keep(self, system: str, retention_days: int, today: date) -> None:
        """Bring the system's tables to what they must be; what cannot be done now is for the next look."""
        try:
            tables = self._tables(system)
        except Unreachable as error:
            log.warning("partitions left until the next look", extra={"system": system, "reason": str(error)})
            return
        for table, partitions in tables.items():
            days = list(filter(None, map(day_of, partitions)))
            if days:
                changes = plan(days, today, retention_days)
                if changes.make or changes.drop:
                    self._change(table, retention_days, today)
            elif retention_days and table not in self.told:
                self.told.add(table)
                log.warning("a table without day partitions keeps all its rows: pmflow partition parts it",
                            extra={"table": table})  # fmt: skip

    def in_one_piece(self, system: str) -> list[str]:
        """Tables of before the system had a retention.

        Raises:
            Unreachable: the database does not answer.
        """
        return [table for table, partitions in self._tables(system).items() if not partitions]

    def part(self, table: str, retention_days: int, today: date) -> None:
        """Give a table in one piece its partitions: the server copies it, and its writers wait as long.

        Raises:
            Unreachable: the database does not answer, or the table's lock was not to be had.
            Hopeless: the server refuses.
        """
        days = new(today, retention_days + 1)  # what is older than all that is kept goes at the next look
        with self.connection.ddl(table) as execute:
            if not _partitions([table], execute)[table]:
                execute(f"ALTER TABLE {quoted(table)}{partitioned(days)}")
                _tell(table, days, [])

    def close(self) -> None:
        self.connection.close()

    def _tables(self, system: str) -> Partitions:
        with self.connection.transaction() as execute:
            tables = execute(
                "SELECT `table_name` FROM pm_group WHERE `system` = %s AND part > 0 ORDER BY `table_name`", (system,)
            )
            return _partitions([table for (table,) in tables], execute)

    def _change(self, table: str, retention_days: int, today: date) -> None:
        try:
            with self.connection.ddl(table) as execute:
                days = list(filter(None, map(day_of, _partitions([table], execute)[table])))
                changes = plan(days, today, retention_days)  # another may have been quicker
                if changes.make:
                    execute(f"ALTER TABLE {quoted(table)} REORGANIZE PARTITION {LATER} INTO {listed(changes.make)}")
                if changes.drop:
                    execute(f"ALTER TABLE {quoted(table)} DROP PARTITION {', '.join(map(name, changes.drop))}")
                _tell(table, changes.make, changes.drop)
        except (Unreachable, Hopeless) as error:
            log.warning("partitions left until the next look", extra={"table": table, "reason": str(error)})


def _partitions(tables: Sequence[str], execute: Execute) -> Partitions:
    found: dict[str, list[str]] = {table: [] for table in tables}
    if tables:
        for table, partition in execute(
            "SELECT table_name, partition_name FROM information_schema.partitions WHERE table_schema = DATABASE() "
            f"AND partition_name IS NOT NULL AND table_name IN ({marks(tables)}) ORDER BY partition_ordinal_position",
            tables,
        ):
            found[table].append(partition)
    return found


def _tell(table: str, made: Sequence[date], dropped: Sequence[date]) -> None:
    metrics.SCHEMA_CHANGES.labels("mysql", "partition made").inc(len(made))
    metrics.SCHEMA_CHANGES.labels("mysql", "partition dropped").inc(len(dropped))
    if made or dropped:
        extra = {"table": table, "made": list(map(name, made)), "dropped": list(map(name, dropped))}
        log.info("partitions changed", extra=extra)
