"""Reads the ledger, pm.files.status, as it is now: the newest status of each file, and the sinks' positions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from shared.configuration.kafka import Kafka
from shared.kafka.admin import ends
from shared.kafka.consume import Consumer, follow_all, read_until
from shared.kafka.record import Record
from shared.ledger import LedgerRecord, OffsetGap, decode_status
from shared.messages import BadMessage, FileStatus, SetAside, SinkPosition
from shared.sink_positions import SinkPositions
from shared.topics import FILES_STATUS, Topic


@dataclass(frozen=True)
class LedgerSnapshot:
    """The ledger at one moment."""

    files: dict[str, FileStatus] = field(default_factory=dict)
    positions: SinkPositions = field(default_factory=SinkPositions)
    set_aside: dict[str, SetAside] = field(default_factory=dict)
    """Set-aside parts of messages by their key in the ledger."""


def read_ledger(brokers: Kafka) -> LedgerSnapshot:
    """Reads the whole topic, up to its present end."""
    return ledger_of(topic_records(brokers, FILES_STATUS))


def ledger_of(records: Iterable[Record]) -> LedgerSnapshot:
    """Builds the ledger from the topic's records, which start at its beginning."""
    ledger = LedgerSnapshot()
    for record, found in ledger_records(records):
        match found:
            case None:
                ledger.set_aside.pop(record.key_text, None)
                ledger.files.pop(record.key_text, None)
            case FileStatus() as status:
                ledger.files[status.file_id] = status
            case SinkPosition() as position:
                ledger.positions.record(position)
            case OffsetGap() as gap:
                ledger.positions.record_gap(gap)
            case SetAside() as aside:
                ledger.set_aside[aside.key] = aside
    return ledger


def ledger_records(records: Iterable[Record]) -> Iterator[tuple[Record, LedgerRecord | None]]:
    """Yields records of the ledger with their content, None for a tombstone.

    It skips invalid ones: the tracker sets them aside, and `pmflow errors` shows them.
    """
    for record in records:
        try:
            found = None if record.value is None else decode_status(record.value)
        except BadMessage:
            continue
        yield record, found


def topic_records(brokers: Kafka, topic: Topic) -> Iterator[Record]:
    """Yields the records of a topic up to its present end; those of one partition are in order."""
    reader = follow_all(brokers, topic)
    try:
        yield from records_until_now(reader, brokers, topic)
    finally:
        reader.close()


def records_until_now(reader: Consumer, brokers: Kafka, topic: Topic) -> Iterator[Record]:
    """Yields the records that the reader has not read yet, up to the topic's present end; it can read on from there."""
    yield from chain.from_iterable(read_until(reader, topic, ends(brokers, topic)))
