"""Finds the tables that hold rows of a file, by the version of the file in each row (`version_of`)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pymysql
from clickhouse_connect.driver.exceptions import ClickHouseError

from services.ch_bridge.operate import Clickhouse, clickhouse_of, client_of, quoted_identifier
from services.mysql_writer.operate import Mysql, connect, mysql_of
from shared.messages import FileStatus
from shared.settings import Settings
from shared.versions import version_of

LONGEST_PERIOD = timedelta(days=1)
"""The longest time a file covers: its rows are searched, by primary key, only this far before its end."""


def rows_of_file(settings: Settings, file: FileStatus) -> Iterator[tuple[str, str, str]]:
    """Yields sink, table and number of rows; a row that a newer file has changed belongs to the newer file."""
    system = settings.system(file.system)
    for sink in system.sinks if system else ():
        try:
            mysql, clickhouse = mysql_of(settings), clickhouse_of(settings)
            tables = mysql_row_counts(mysql, file) if sink == "mysql" else clickhouse_row_counts(clickhouse, file)
            for table, rows in tables.items():
                if rows:
                    yield sink, table, f"{rows:,} rows"
            if not any(tables.values()):
                yield sink, "", "no rows: not stored, or all replaced by newer files"
        except (pymysql.Error, ClickHouseError, OSError) as error:
            yield sink, "", f"database not queried: {error}"


def mysql_row_counts(settings: Mysql, file: FileStatus) -> dict[str, int]:
    """Returns the number of the file's rows by table."""
    with connect(settings, settings.database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT g.`table_name` FROM pm_group g JOIN information_schema.tables t "
            "ON t.table_schema = DATABASE() AND t.table_name = g.`table_name` WHERE g.`system` = %s AND g.part > 0",
            (file.system,),
        )
        found = {}
        for (table,) in cursor.fetchall():
            cursor.execute(
                f"SELECT COUNT(*) FROM `{table}` WHERE ts BETWEEN %s AND %s AND ver = %s",  # noqa: S608 - a name pmflow gave
                (*_period(file), version_of(file.file_id, file.mtime_s)),
            )
            ((found[str(table)],),) = cursor.fetchall()
        return found


def clickhouse_row_counts(settings: Clickhouse, file: FileStatus) -> dict[str, int]:
    """Returns the number of the file's rows by table, including rows that newer files have replaced."""
    begin, end = _period(file)
    parameters = {"begin": begin, "end": end, "ver": version_of(file.file_id, file.mtime_s)}
    with client_of(settings) as client:
        names = client.query(
            "SELECT rows_table FROM pm_group WHERE system = {system:String}", parameters={"system": file.system}
        ).result_rows
        found = {}
        for (table,) in names:
            ((rows,),) = client.query(
                f"SELECT count() FROM {quoted_identifier(table)} "  # noqa: S608 - a name pmflow gave
                "WHERE ts BETWEEN {begin:DateTime('UTC')} AND {end:DateTime('UTC')} AND ver = {ver:Int64}",
                parameters=parameters,
            ).result_rows
            found[str(table)] = int(rows)
        return found


def _period(file: FileStatus) -> tuple[datetime, datetime]:
    end = datetime.fromtimestamp(file.end_s, UTC)
    return end - LONGEST_PERIOD, end
