"""Reads the ledger, pm.files.status, as it is now: the newest status of each file, and the sinks' positions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from shared.kafka.admin import ends
from shared.kafka.consume import Consumer, follow_all, read_until
from shared.kafka.record import Record
from shared.ledger import LedgerRecord, OffsetGap, UnknownKind, decode_status
from shared.messages import FileStatus, SetAside, SinkPosition
from shared.sink_positions import SinkPositions
from shared.topics import FILES_STATUS, Topic


@dataclass(frozen=True)
class LedgerSnapshot:
    """The ledger at one moment."""

    files: dict[str, FileStatus] = field(default_factory=dict)
    positions: SinkPositions = field(default_factory=SinkPositions)
    set_aside: dict[str, SetAside] = field(default_factory=dict)
    """Set-aside parts of messages by their key in the ledger."""


def read_ledger(brokers: str) -> LedgerSnapshot:
    """Reads the whole topic, up to its present end."""
    return ledger_of(topic_records(brokers, FILES_STATUS))


def ledger_of(records: Iterable[Record]) -> LedgerSnapshot:
    """Builds the ledger from the topic's records, which start at its beginning."""
    ledger = LedgerSnapshot()
    for record in records:
        _take(ledger, record.key_text, record.value)
    return ledger


def topic_records(brokers: str, topic: Topic) -> Iterator[Record]:
    """Yields the records of a topic up to its present end; those of one partition are in order."""
    reader = follow_all(brokers, topic)
    try:
        yield from records_until_now(reader, brokers, topic)
    finally:
        reader.close()


def records_until_now(reader: Consumer, brokers: str, topic: Topic) -> Iterator[Record]:
    """Yields the records that the reader has not read yet, up to the topic's present end; it can read on from there."""
    yield from chain.from_iterable(read_until(reader, topic, ends(brokers, topic)))


def record_of(value: bytes | None) -> LedgerRecord | None:
    """Returns a record of the ledger; None for a deleted entry and for a kind that only newer versions know."""
    try:
        return decode_status(value) if value is not None else None
    except UnknownKind:
        return None


def _take(ledger: LedgerSnapshot, key: str, value: bytes | None) -> None:
    if value is None:
        ledger.set_aside.pop(key, None)
        return
    match record_of(value):
        case FileStatus() as status:
            ledger.files[status.file_id] = status
        case SinkPosition() as position:
            ledger.positions.record(position)
        case OffsetGap() as gap:
            ledger.positions.record_gap(gap)
        case SetAside() as aside:
            ledger.set_aside[aside.key] = aside
