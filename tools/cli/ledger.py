"""The ledger as it is now: the newest status of each file and the sinks' positions, read from pm.files.status."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic

from shared.errors import Unreachable
from shared.kafka import Consumer, Message, TopicPartition, ends, follow_all, usable
from shared.messages import FileStatus, SetAside, SinkPosition, decode_status
from shared.topics import FILES_STATUS, Topic

SILENT_FOR_S = 30.0
"""A topic that has more to read and sends nothing for so long counts as unreachable."""


@dataclass(frozen=True)
class Ledger:
    """A snapshot."""

    files: dict[str, FileStatus] = field(default_factory=dict)
    positions: dict[tuple[str, str, int], int] = field(default_factory=dict)
    set_aside: dict[str, SetAside] = field(default_factory=dict)
    """By key."""


def read(brokers: str) -> Ledger:
    """All of the topic, up to where it ends now."""
    return of(messages(brokers, FILES_STATUS))


def of(said: Iterable[Message]) -> Ledger:
    """What the topic's messages, from its beginning, leave."""
    ledger = Ledger()
    for message in said:
        _take(ledger, (message.key() or b"").decode(errors="replace"), message.value())
    return ledger


def messages(brokers: str, topic: Topic) -> Iterator[Message]:
    """All of a topic, up to where it ends now; each partition's in their order."""
    reader = follow_all(brokers, topic)
    try:
        yield from until_now(reader, brokers, topic)
    finally:
        reader.close()


def until_now(reader: Consumer, brokers: str, topic: Topic) -> Iterator[Message]:
    """Yields what the reader has not read yet, up to where the topic ends now; the reader can go on from there.

    Raises:
        Unreachable: Kafka does not answer, or stops sending.
    """
    left, until_s = ends(brokers, topic), monotonic() + SILENT_FOR_S
    seen: dict[int, int] = {}
    while left:
        yield from usable(reader.consume(1000, 0.5))
        positions = reader.position([TopicPartition(topic.name, partition) for partition in left])
        ahead = {p.partition: p.offset for p in positions if p.offset < left[p.partition]}
        if ahead != seen:
            until_s = monotonic() + SILENT_FOR_S
        elif monotonic() > until_s:
            raise Unreachable(f"Kafka {brokers}: {topic.name}: nothing read for {SILENT_FOR_S:.0f} s")
        seen, left = ahead, {partition: left[partition] for partition in ahead}


def _take(ledger: Ledger, key: str, value: bytes | None) -> None:
    if value is None:
        ledger.set_aside.pop(key, None)
        return
    match decode_status(value):
        case FileStatus() as status:
            ledger.files[status.file_id] = status
        case SinkPosition() as position:
            ledger.positions[position.sink, position.topic, position.partition] = position.next_offset
        case aside:
            ledger.set_aside[aside.key] = aside
