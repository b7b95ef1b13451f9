"""`pmflow partition`: day partitions for tables that were made before their system had a retention."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.progress import track

from services.mysql_writer.retention import Retention
from services.mysql_writer.settings import mysql_of
from shared.settings import BadSettings, load


def partition_command(system: Annotated[str, typer.Option(help="whose tables")]) -> None:
    """Part the tables of a system in MySQL by day, one by one: the server copies each, its writers wait as long."""
    settings = load()
    found = settings.system(system)
    if found is None or not found.retention_days:
        raise BadSettings(f"{system}: no such system with retention-days; without, tables stay in one piece")
    retention = Retention(mysql_of(settings), answer_s=None)
    tables = retention.in_one_piece(system)
    for table in track(tables, "tables"):
        retention.part(table, found.retention_days, datetime.now(UTC).date())
    retention.close()
    typer.echo(f"{len(tables)} tables parted")
