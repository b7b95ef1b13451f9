"""The ledger as it is now: the newest status of each file and the sinks' positions, read from pm.files.status."""

from dataclasses import dataclass, field

from shared.kafka import TopicPartition, ends, follow_all, usable
from shared.messages import FileStatus, SinkPosition, decode_status
from shared.topics import FILES_STATUS


@dataclass(frozen=True)
class Ledger:
    """A snapshot."""

    files: dict[str, FileStatus] = field(default_factory=dict)
    positions: dict[tuple[str, str, int], int] = field(default_factory=dict)


def read(brokers: str) -> Ledger:
    """All of the topic, up to where it ends now."""
    reader = follow_all(brokers, FILES_STATUS)
    left = ends(brokers, FILES_STATUS)
    ledger = Ledger()
    while left:
        for message in usable(reader.consume(1000, 0.5)):
            _take(ledger, message.value())
        positions = reader.position([TopicPartition(FILES_STATUS.name, partition) for partition in left])
        left = {p.partition: left[p.partition] for p in positions if p.offset < left[p.partition]}
    reader.close()
    return ledger


def _take(ledger: Ledger, value: bytes | None) -> None:
    if value is None:
        return
    match decode_status(value):
        case FileStatus() as status:
            ledger.files[status.file_id] = status
        case SinkPosition() as position:
            ledger.positions[position.sink, position.topic, position.partition] = position.next_offset
