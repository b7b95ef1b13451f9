"""Finds gaps in what a sink reads: messages that left the topic before the sink stored them.

Retention may pass a sink that was away for long, records may be deleted, and a topic may be created anew. Kafka's
client then continues at the first offset that exists. Each gap is logged, counted and written to the ledger before the
sink's position passes it, so that no file with batches in it counts as stored
(docs/decisions/0002-completion-by-offset.md).
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import time

from shared.kafka.record import Record, TopicPartition
from shared.ledger import OffsetGap
from shared.sinks import metrics

log = logging.getLogger(__name__)
OffsetsOf = Callable[[TopicPartition], tuple[int, int]]
"""Returns the first offset of a partition and its end."""
Publish = Callable[[OffsetGap], None]
"""Writes a gap to the ledger, durably."""


@dataclass(frozen=True, slots=True)
class Contiguity:
    """The next offset that each partition must bring. Pure."""

    expected: dict[TopicPartition, int] = field(default_factory=dict)

    def starts(self, at: TopicPartition, position: int) -> None:
        """Expects a position next; a negative one is unknown, as nothing was read before."""
        self.expected[at] = position

    def jumps(self, records: Iterable[Record]) -> Iterator[tuple[TopicPartition, int, int]]:
        """Takes records in the order in which they arrived; yields partition, expected and found offset of each gap."""
        for record in records:
            at, offset = record.topic_partition, record.offset
            expected = self.expected.get(at, -1)
            if 0 <= expected != offset:
                yield at, expected, offset
            self.expected[at] = offset + 1


@dataclass(frozen=True, slots=True)
class GapWatch:
    """Watches what one sink reads, and reports each gap."""

    sink: str
    offsets_of: OffsetsOf
    publish: Publish
    contiguity: Contiguity = field(default_factory=Contiguity)

    def starting_points(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Returns the first offsets of those partitions that no longer contain the position; reports their gaps.

        Raises:
            Unreachable: Kafka did not answer.
        """
        corrected = {}
        for at, position in positions.items():
            metrics.OFFSET_GAPS.labels(self.sink, *at)  # exist with 0 from the start
            metrics.OFFSET_GAP_MESSAGES.labels(self.sink, *at)
            self.contiguity.starts(at, position)
            if position < 0:
                continue
            first, end = self.offsets_of(at)
            if not first <= position <= end:
                corrected[at] = first
                self._report(at, position, first)
                self.contiguity.starts(at, first)
        return corrected

    def check(self, records: Iterable[Record]) -> None:
        """Takes records that were read; reports the gaps before and between them.

        Raises:
            Unreachable: Kafka did not take the report; the position must not pass the gap.
        """
        for at, expected, found in self.contiguity.jumps(records):
            self._report(at, expected, found)

    def _report(self, at: TopicPartition, expected: int, found: int) -> None:
        gap = OffsetGap(
            sink=self.sink, topic=at.topic, partition=at.partition, first=expected, next_offset=found, at_s=time()
        )
        self.publish(gap)
        metrics.OFFSET_GAPS.labels(self.sink, *at).inc()
        metrics.OFFSET_GAP_MESSAGES.labels(self.sink, *at).inc(max(0, found - expected))
        what = "topic was created anew" if gap.is_new_topic else "messages left the topic before they were stored"
        where = {"topic": at.topic, "partition": at.partition, "expected": expected, "found": found}
        log.error("gap in the topic", extra={"sink": self.sink, **where, "reason": what})
