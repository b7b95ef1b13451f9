"""The ledger as it is now: the newest status of each file and the sinks' positions, read from pm.files.status."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from shared.kafka.admin import ends
from shared.kafka.consume import Consumer, follow_all, read_until
from shared.kafka.record import Record
from shared.messages import FileStatus, SetAside, SinkPosition, decode_status
from shared.sink_positions import SinkPositions
from shared.topics import FILES_STATUS, Topic


@dataclass(frozen=True)
class LedgerSnapshot:
    """A snapshot."""

    files: dict[str, FileStatus] = field(default_factory=dict)
    positions: SinkPositions = field(default_factory=SinkPositions)
    set_aside: dict[str, SetAside] = field(default_factory=dict)
    """By key."""


def read_ledger(brokers: str) -> LedgerSnapshot:
    """All of the topic, up to where it ends now."""
    return ledger_of(topic_records(brokers, FILES_STATUS))


def ledger_of(said: Iterable[Record]) -> LedgerSnapshot:
    """What the topic's messages, from its beginning, leave."""
    ledger = LedgerSnapshot()
    for record in said:
        _take(ledger, record.key_text, record.value)
    return ledger


def topic_records(brokers: str, topic: Topic) -> Iterator[Record]:
    """All of a topic, up to where it ends now; each partition's in their order."""
    reader = follow_all(brokers, topic)
    try:
        yield from records_until_now(reader, brokers, topic)
    finally:
        reader.close()


def records_until_now(reader: Consumer, brokers: str, topic: Topic) -> Iterator[Record]:
    """What the reader has not read yet, up to where the topic ends now; it can be read on from there."""
    yield from chain.from_iterable(read_until(reader, topic, ends(brokers, topic)))


def _take(ledger: LedgerSnapshot, key: str, value: bytes | None) -> None:
    if value is None:
        ledger.set_aside.pop(key, None)
        return
    match decode_status(value):
        case FileStatus() as status:
            ledger.files[status.file_id] = status
        case SinkPosition() as position:
            ledger.positions.record(position)
        case aside:
            ledger.set_aside[aside.key] = aside
