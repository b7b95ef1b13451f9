"""The history of files in MySQL: one row per file, merged from its statuses (`shared.sinks.files`)."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import chain

from services.mysql_writer.connection import Connection
from services.mysql_writer.ddl import placeholders, quoted_identifier
from services.mysql_writer.own_columns import add_own_columns, own_column_list
from services.mysql_writer.settings import Mysql
from shared.messages import FileStatus
from shared.sinks import metrics
from shared.sinks.files import (
    FIGURE_COLUMNS,
    FILE_COLUMNS,
    FILE_KEY,
    PLACE_COLUMNS,
    STATE_COLUMNS,
    TIME_COLUMNS,
    file_cells,
    kept_statuses,
    oldest_kept,
    status_order,
)
from shared.sinks.names import FILE_TABLE

log = logging.getLogger(__name__)
SEPARATE = "if these are different elements, set `element-prefix: endpoint` for the system"
FILES_PER_STATEMENT = 100
CREATE_FILE_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {FILE_TABLE} ("
    "`system` VARCHAR(255) COLLATE utf8mb4_bin NOT NULL, "
    "ver BIGINT NOT NULL COMMENT 'of the rows that the file brought', "
    "file_id CHAR(16) CHARACTER SET ascii NOT NULL, "
    "status_order BIGINT NOT NULL COMMENT 'of the newest status', "
    f"{', '.join(own_column_list(FILE_COLUMNS))}, "
    "PRIMARY KEY (`system`, ver, file_id), KEY (file_id), KEY (`system`, changed), "
    "KEY (`system`, ts, managed_element(100))"
    ") CHARACTER SET utf8mb4"
)
_NAMES = (*FILE_KEY, "status_order", *FILE_COLUMNS)


def _merged() -> Iterator[str]:
    """Yields the assignments of the upsert. MySQL evaluates them in order: what others compare with comes last."""
    for name in map(quoted_identifier, PLACE_COLUMNS):
        yield f"{name} = VALUES({name})"
    for name in map(quoted_identifier, STATE_COLUMNS):
        yield f"{name} = IF(VALUES(status_order) >= status_order, VALUES({name}), {name})"
    for name in map(quoted_identifier, FIGURE_COLUMNS):
        newer = "COALESCE(VALUES(parsed), 0) >= COALESCE(parsed, 0)"
        yield f"{name} = IF({newer}, VALUES({name}), {name})"
    for name in (*map(quoted_identifier, TIME_COLUMNS), "status_order"):
        yield f"{name} = GREATEST(COALESCE({name}, VALUES({name})), COALESCE(VALUES({name}), {name}))"


UPSERT_FILES = (
    f"INSERT INTO {FILE_TABLE} ({', '.join(map(quoted_identifier, _NAMES))}) VALUES {{rows}} "
    f"ON DUPLICATE KEY UPDATE {', '.join(_merged())}"
)
CONFLICTS = (
    "SELECT f.file_id, f.`system`, f.managed_element, f.endpoint, other.endpoint "
    f"FROM {FILE_TABLE} f FORCE INDEX (file_id) STRAIGHT_JOIN {FILE_TABLE} other FORCE INDEX (system_2) "
    "ON other.`system` = f.`system` AND other.ts = f.ts AND other.managed_element = f.managed_element "
    "AND other.endpoint <> f.endpoint WHERE f.file_id IN ({files}) AND f.managed_element <> ''"
)
"""Finds files whose element another endpoint delivered for the same period: their rows have the same keys.

It names the indexes, by the names that the server gave them: while the table grows fast, its statistics are old, and by
these the server would read all files of the system for each file. `system_2` is that of system, ts and managed_element.
"""
DROP_FILES = f"DELETE FROM {FILE_TABLE} WHERE `system` = %s AND changed < %s LIMIT 10000"
"""Deletes in steps, so that no transaction becomes large."""


class FileTable:
    """The table of files, with a connection of its own. Raises as `Connection` does."""

    def __init__(self, settings: Mysql, retention_days: Callable[[str], int | None] = lambda _: None) -> None:
        """`retention_days` returns a system's retention, by its name."""
        self.connection = Connection(settings, (CREATE_FILE_TABLE,))
        self.retention_days = retention_days
        self.has_all_columns = False
        self.reported: set[tuple[str, ...]] = set()
        """System, element and endpoints of conflicts that were logged."""
        self.swept: dict[str, datetime | None] = {}
        """System -> the time before which its rows were dropped last."""

    def keep(self, statuses: Sequence[FileStatus]) -> None:
        """Stores all statuses or none; the row of a file does not depend on their order."""
        if not self.has_all_columns:
            add_own_columns(self.connection, FILE_TABLE, FILE_COLUMNS)
            self.has_all_columns = True
        kept = list(kept_statuses(statuses, self.retention_days))
        with self.connection.transaction() as execute:
            for at in range(0, len(kept), FILES_PER_STATEMENT):
                rows = [_row(status) for status in kept[at : at + FILES_PER_STATEMENT]]
                values = ", ".join([f"({placeholders(_NAMES)})"] * len(rows))
                execute(UPSERT_FILES.format(rows=values), [*chain.from_iterable(rows)])
        self._report_conflicts([status.file_id for status in kept if status.stage == "parsed"])
        for system in {status.system for status in statuses}:
            self._drop_old(system)

    def _report_conflicts(self, files: Sequence[str]) -> None:
        """Counts the files whose rows another endpoint's files overwrite, and logs each pair of endpoints once."""
        if not files:
            return
        with self.connection.transaction() as execute:
            conflicts = execute(CONFLICTS.format(files=placeholders(files)), files)
        for system, number in Counter(dict(row[:2] for row in conflicts).values()).items():
            metrics.CONFLICTING_FILES.labels(system).inc(number)
        for _, system, element, *pair in conflicts:
            found = (system, element, *sorted(pair))
            if found not in self.reported:
                self.reported.add(found)
                extra = {"system": system, "element": element, "endpoints": sorted(pair), "fix": SEPARATE}
                log.warning("element delivered by two endpoints", extra=extra)

    def _drop_old(self, system: str) -> None:
        """Drops the rows that are too old; looks once a day for each system."""
        before = oldest_kept(self.retention_days(system))
        if before == self.swept.get(system):
            return
        dropped = 1
        while dropped:
            with self.connection.transaction() as execute:
                dropped = execute.matched(DROP_FILES, (system, before))
        self.swept[system] = before

    def renew(self) -> None:
        """Forgets the table's columns, and closes the connection until it is needed."""
        self.has_all_columns = False
        self.close()

    def close(self) -> None:
        self.connection.close()


def _row(status: FileStatus) -> list[object]:
    cells = file_cells(status) | {"status_order": status_order(status)}
    return [cells[name] for name in _NAMES]
