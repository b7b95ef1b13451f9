"""`pmflow partition`: partitions tables by day that were created before their system had a retention."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.progress import track

from services.mysql_writer.operate import Retention, mysql_of
from shared.settings import BadSettings, load
from tools.cli.output import say


def partition_command(system: Annotated[str, typer.Option(help="system whose tables are partitioned")]) -> None:
    """Partition a system's MySQL tables by day, one at a time; writers wait while the server copies a table."""
    settings = load()
    found = settings.system(system)
    if found is None or not found.retention_days:
        raise BadSettings(
            f"{system}: no system of this name has retention-days; set it before its tables can be partitioned"
        )
    retention = Retention(mysql_of(settings), timeout_s=None)
    tables = retention.unpartitioned(system)
    for table in track(tables, "tables"):
        retention.partition(table, found.retention_days, datetime.now(UTC).date())
    retention.close()
    say(f"{len(tables)} tables partitioned")
