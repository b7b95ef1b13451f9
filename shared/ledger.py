"""The records of the ledger, the topic pm.files.status, and how to read them."""

import re
from dataclasses import dataclass
from typing import ClassVar

from shared.messages import (
    BadMessage,
    ClockTime,
    Count,
    FileStatus,
    Message,
    Partition,
    SetAside,
    SinkPosition,
    Text,
    json_object,
)


class UnknownKind(BadMessage):
    """A ledger record of a kind that a newer version writes; readers skip it, so that services upgrade in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetGap(Message):
    """Messages that left the topic before a sink read them; written before the sink's position passes the gap."""

    kind: ClassVar[str] = "offset-gap"
    sink: Text
    topic: Text
    partition: Partition
    first: Count
    """The offset that the sink expected."""
    next_offset: Count
    """The offset at which it continues; lower than `first` if the topic was created anew."""
    at_s: ClockTime

    @property
    def key(self) -> str:
        """Key in the ledger, the same when the gap is found again."""
        return f"{self.sink}/{self.topic}/{self.partition}/gap/{self.first}"

    @property
    def is_new_topic(self) -> bool:
        """True if the topic was created anew: offsets from `first` on were those of the former topic."""
        return self.next_offset < self.first


LedgerRecord = FileStatus | SinkPosition | SetAside | OffsetGap
LEDGER_KINDS: dict[str, type[LedgerRecord]] = {
    record.kind: record for record in (FileStatus, SinkPosition, SetAside, OffsetGap)
}


def decode_status(raw: bytes) -> LedgerRecord:
    """Returns a record of pm.files.status, which contains four kinds of messages.

    Raises:
        UnknownKind: the message is of another kind.
        BadMessage: the message is not valid.
    """
    found = json_object(raw)
    kind = found.get("kind")
    if isinstance(kind, str) and kind not in LEDGER_KINDS:
        raise UnknownKind(f"not a {FileStatus.kind}, but {kind!r}", raw)
    return LEDGER_KINDS.get(kind if isinstance(kind, str) else "", FileStatus).of(found, raw)


_FILE_ID = re.compile(b"[0-9a-f]{16}")


def removed_file(key: bytes) -> str:
    """Returns the id of the file that a tombstone removes from the ledger; empty if it removes another entry."""
    return key.decode() if _FILE_ID.fullmatch(key) else ""
