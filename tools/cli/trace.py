"""`pmflow trace`: every hop of a file, as the ledger tells them, with times and offsets."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from shared.kafka import Message, origin
from shared.messages import BadMessage, FileStatus, SinkPosition, decode_status
from shared.settings import load
from shared.topics import FILES_STATUS
from tools.cli import ledger

Record = tuple[str, FileStatus | SinkPosition]
"""Where it lies (topic/partition/offset), and what it says."""


def trace(
    what: Annotated[str, typer.Argument(help="a file's id, a part of its path, or an element")],
) -> None:
    """Show the way of the files that match, hop by hop; what compaction took from the ledger is not shown."""
    records = list(decoded(ledger.messages(load().kafka.bootstrap_servers, FILES_STATUS)))
    hops = list(hops_of(records, what))
    if not hops:
        raise typer.BadParameter(f"the ledger knows no file or element {what!r}")
    shown = Table("file", "time", "stage", "says", "where", title=what)
    for hop in hops:
        shown.add_row(*hop)
    Console().print(shown)


def decoded(messages: Iterable[Message]) -> Iterator[Record]:
    """The ledger's records; what is none is passed over, the tracker tells of it."""
    for message in messages:
        try:
            record = decode_status(message.value() or b"")
        except BadMessage:
            continue
        yield "/".join(map(str, origin(message))), record


def hops_of(records: Iterable[Record], what: str) -> Iterator[tuple[str, str, str, str, str]]:
    """File, time, stage, what is said of it, and where that lies; a file's hops in their order."""
    files: dict[str, list[tuple[str, FileStatus]]] = {}
    positions: dict[tuple[str, str, int], int] = {}
    for where, record in records:
        if isinstance(record, SinkPosition):
            positions[record.sink, record.topic, record.partition] = record.next_offset
        elif what in {record.file_id, record.element, record.endpoint} or what in record.path:
            files.setdefault(record.file_id, []).append((where, record))
    for file_id, told in files.items():
        for where, status in told:
            yield file_id, _clock(status.at_s), status.stage, _says(status), where
        _, newest = told[-1]
        for (sink, topic, partition), next_offset in sorted(positions.items()):
            if (topic, partition) == (newest.topic, newest.partition):
                stored = "has it" if next_offset > newest.last_offset else "does not have it yet"
                yield file_id, "", sink, f"{stored}, is at {next_offset}", f"{topic}/{partition}/{newest.last_offset}"


def _says(status: FileStatus) -> str:
    counts = (
        f"{status.rows:,} rows, {status.values:,} values, {status.quarantined:,} set aside, {status.dropped:,} dropped"
    )
    return "; ".join(part for part in (status.path, counts if status.rows else "", status.reason) if part)


def _clock(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]
