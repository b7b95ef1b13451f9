"""Every topic: what it contains, which services write and read it, its key, partitions and retention.

`pmflow topics create` creates them before the services start, as a Faust worker never consumes a topic that did not
exist when it started (docs/decisions/0003-faust-for-state.md). docs/topics.md is generated from this module.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shared.cycle_figures import CycleFigures
from shared.ledger import OffsetGap
from shared.messages import PARTITIONS, CounterBatch, FileFound, FileStatus, Message, SetAside, Settle, SinkPosition

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FOR_EVER = -1
MESSAGE_MAX_BYTES = 1_000_000
"""Largest batch; producers and topics are configured accordingly."""
RECORD_MAX_BYTES = MESSAGE_MAX_BYTES + 100_000
"""Largest record of a topic: leaves space for headers and framing of the largest batch."""
LETTER_MAX_BYTES = RECORD_MAX_BYTES + 100_000
"""Largest dead letter: any record with the headers that are added to it."""

COMPACTION = {"segment.bytes": str(64 << 20), "segment.ms": str(DAY_MS), "min.cleanable.dirty.ratio": "0.2"}
"""A reader that starts reads little more than the newest record of each key, and those of about the last day.

By Kafka's defaults it would read up to a gigabyte and seven days of each partition, as the segment that is written is
never compacted.
"""


def dead_letters_of(topic: str) -> str:
    """Returns the name of the topic that holds a topic's dead letters."""
    return f"{topic}.dlq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic, with its writers and readers."""

    name: str
    about: str
    messages: tuple[type[Message], ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    key: str
    partitions: int = PARTITIONS
    retention_ms: int = 7 * DAY_MS
    compacted: bool = False
    uncompacted_ms: int = 0
    """Time for which compaction keeps every record."""
    max_bytes: int = RECORD_MAX_BYTES
    also_set_aside_by: tuple[str, ...] = ()
    """Services that write dead letters of the topic besides its readers."""
    dead_letters_read_by: tuple[str, ...] = ()
    """Services that read its dead letters besides the operator: those that recognise what they set aside before."""

    @property
    def dead_letters(self) -> "Topic":
        """The topic of the records that readers of this one set aside, with reason and origin as headers."""
        return replace(
            self,
            name=dead_letters_of(self.name),
            about=f"Records that readers of {self.name} set aside, unchanged; reason and origin are in the headers.",
            writers=(*self.readers, *self.also_set_aside_by),
            readers=("operator", *self.dead_letters_read_by),
            retention_ms=30 * DAY_MS,
            compacted=False,
            max_bytes=LETTER_MAX_BYTES,
        )

    @property
    def config(self) -> dict[str, str]:
        """The topic configuration, by Kafka's names."""
        return {
            "cleanup.policy": "compact,delete" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_bytes),
            **({**COMPACTION, "min.compaction.lag.ms": str(self.uncompacted_ms)} if self.compacted else {}),
        }


FILES_FOUND = Topic(
    name="pm.files.found",
    about="Files to fetch, announced once by the leader of their system, and again by a backfill.",
    messages=(FileFound,),
    writers=("scanner",),
    readers=("fetcher",),
    key="element; in the partition of the host, or of the element if it is read from the fetcher's own disk",
)
FILES_STATUS = Topic(
    name="pm.files.status",
    about="The ledger: the status of each file, the position of each sink, what it set aside and what it missed. "
    "A tombstone removes a file.",
    messages=(FileStatus, SinkPosition, SetAside, OffsetGap),
    writers=("scanner", "fetcher", "tracker", "mysql_writer", "ch_bridge"),
    readers=("scanner", "fetcher", "tracker", "mysql_writer", "ch_bridge"),
    key="file_id, sink/topic/partition[/gap/offset] or sink/file_id/digest; partition of element or counters topic",
    retention_ms=30 * DAY_MS,
    compacted=True,
    dead_letters_read_by=("scanner", "tracker"),
    uncompacted_ms=DAY_MS,  # a fetcher looks for the status that a second announcement hid
)
FILES_SETTLE = Topic(
    name="pm.files.settle",
    about="Commands to move a file to done/ or error/ on its element.",
    messages=(Settle,),
    writers=("tracker",),
    readers=("fetcher",),
    key="file_id; in the partition of the file's announcement",
)
CYCLES = Topic(
    name="pm.cycles",
    about="The newest figures of each system and period.",
    messages=(CycleFigures,),
    writers=("tracker",),
    readers=("tracker", "mysql_writer", "ch_bridge", "operator"),
    key="system/end of period",
    partitions=1,
    retention_ms=30 * DAY_MS,
    compacted=True,
)


TRACKER_TABLES = tuple(
    Topic(
        name=f"pmflow-tracker-{table}-changelog",
        about=f"Changelog of the tracker's Faust table `{table}`.",
        messages=(),
        writers=("tracker",),
        readers=("tracker",),
        key="key of the table",
        retention_ms=FOR_EVER,
        compacted=True,
    )
    for table in ("files", "positions")
)


def counters_topic(system: str) -> Topic:
    """Returns the topic with the counters of a system."""
    return Topic(
        name=f"pm.counters.{system}",
        about="Counters of one system, in columnar batches.",
        messages=(CounterBatch,),
        writers=("fetcher",),
        readers=("mysql_writer", "ch_bridge"),
        key="element",
        also_set_aside_by=("fetcher",),
    )


def system_of(topic: str) -> str:
    """Returns the system whose counters a topic contains.

    >>> system_of("pm.counters.4ga")
    '4ga'
    """
    return topic.removeprefix(counters_topic("").name)


def provisioned(systems: Iterable[str]) -> tuple[Topic, ...]:
    """Returns all topics of a deployment with these systems, including those for dead letters."""
    topics = (FILES_FOUND, FILES_STATUS, FILES_SETTLE, CYCLES, *(counters_topic(system) for system in systems))
    return (*(twin for topic in topics for twin in (topic, topic.dead_letters)), *TRACKER_TABLES)
