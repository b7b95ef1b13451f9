"""Records and partitions as the services see them: plain values, without a client library."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class KafkaFailure(Exception):  # noqa: N818 - named like `Unreachable` and `Hopeless`
    """Kafka refused a request, or the client cannot go on: no such topic, no permission, or a fatal error."""


class TopicPartition(NamedTuple):
    """Names one partition of a topic; the key of everything that is kept per partition."""

    topic: str
    partition: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record that was read from a topic. Services read millions, and a frozen dataclass takes four times as long."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    """None: a tombstone, which deletes the key from a compacted topic."""
    timestamp_s: float
    headers: Mapping[str, str] = NO_HEADERS

    @property
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def origin(self) -> str:
        """Returns topic/partition/offset, for headers, logs and tables."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def key_text(self) -> str:
        return self.key.decode(errors="replace")
