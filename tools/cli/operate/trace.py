"""`pmflow trace`: every hop of a file through the pipeline, with times, offsets and tables."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated

import typer

from shared.ledger import LedgerRecord, OffsetGap
from shared.messages import FileStatus, SetAside, SinkPosition
from shared.settings import Settings
from shared.sink_positions import SinkPositions
from shared.topics import FILES_STATUS
from tools.cli.operate import ledger
from tools.cli.operate.file_rows import rows_of_file
from tools.cli.operate.ready import load_ready
from tools.cli.output import OutputTable, show

TracedRecord = tuple[str, LedgerRecord]
"""The origin of a record (topic/partition/offset) and its content."""
MOST_FILES_LOOKED_UP = 50
"""Limit of the files whose rows are looked up in the databases."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a file through the pipeline."""

    file: FileStatus
    time: str
    at: str
    """The file's stage, or the name of a sink."""
    says: str
    where: str
    """The record's topic/partition/offset, or a table."""


def trace_files(
    what: Annotated[str, typer.Argument(help="file id, part of a file's path, or element")],
) -> None:
    """Show every hop of the matching files, from the announcement to the tables that hold their rows.

    Statuses that the compaction of the ledger has removed are not shown.
    """
    settings = load_ready()
    records = ledger.ledger_records(ledger.topic_records(settings.kafka, FILES_STATUS))
    hops = list(hops_of(((record.origin, found) for record, found in records if found is not None), what))
    if not hops:
        raise typer.BadParameter(
            f"the ledger has no file or element {what!r}; expected a file id, a part of a path or an element"
        )
    show(hops_table(what, hops, settings))


def hops_table(what: str, hops: Iterable[Hop], settings: Settings) -> OutputTable:
    """Returns a table with one row per hop, and per table that holds rows of the file."""
    shown = OutputTable("file", "time", "at", "says", "where", title=what)
    for number, (file_id, some) in enumerate(groupby(hops, _id)):
        of_file = list(some)
        for hop in of_file:
            shown.add_row(file_id, hop.time, hop.at, hop.says, hop.where)
        if number < MOST_FILES_LOOKED_UP and of_file[-1].file.topic:
            for sink, table, says in rows_of_file(settings, of_file[-1].file):
                shown.add_row(file_id, "", sink, says, table)
    return shown


def _id(hop: Hop) -> str:
    return hop.file.file_id


def hops_of(records: Iterable[TracedRecord], what: str) -> Iterator[Hop]:
    """Yields the hops of each file in order; those in the sinks come last."""
    files: dict[str, list[tuple[str, FileStatus]]] = {}
    positions = SinkPositions()
    asides: dict[str, SetAside] = {}
    for where, record in records:
        match record:
            case SinkPosition():
                positions.record(record)
            case OffsetGap():
                positions.record_gap(record)
            case SetAside():
                asides[record.key] = record
            case FileStatus() if what in {record.file_id, record.element, record.endpoint} or what in record.path:
                files.setdefault(record.file_id, []).append((where, record))
    for told in files.values():
        for where, status in told:
            yield Hop(status, _clock(status.at_s), status.stage, _says(status), where)
        newest = told[-1][1]
        yield from _asides(newest, asides.values())
        yield from _sinks(newest, positions)


def _asides(file: FileStatus, asides: Iterable[SetAside]) -> Iterator[Hop]:
    for aside in asides:
        if aside.file_id == file.file_id:
            says = f"{aside.values:,} values set aside: {aside.reason}"
            where = f"{aside.topic}/{aside.partition}/{aside.offset}"
            yield Hop(file, _clock(aside.at_s), aside.sink, says, where)


def _sinks(file: FileStatus, positions: SinkPositions) -> Iterator[Hop]:
    end = file.topic, file.partition, file.last_offset
    for sink, next_offset in positions.in_partition(file.topic, file.partition).items():
        stored = "stored" if positions.is_stored(sink, *end) else "not stored yet"
        if positions.lost_by([sink], file):
            stored = "batches left the topic before they were stored"
        yield Hop(file, "", sink, f"{stored}, next offset {next_offset}", "/".join(map(str, end)))


def _says(status: FileStatus) -> str:
    counts = (
        f"{status.rows:,} rows, {status.values:,} values, {status.quarantined:,} set aside, {status.dropped:,} dropped"
    )
    return "; ".join(part for part in (status.path, counts if status.rows else "", status.reason) if part)


def _clock(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]
