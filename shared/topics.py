"""Every topic: what it carries, who writes and who reads it, its key, partitions and retention.

`pmflow topics create` provisions them before the services start (a Faust worker never consumes a topic that did
not exist when it started: docs/decisions/0003-faust-for-state.md). docs/topics.md is generated from here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shared.cycle_figures import CycleFigures
from shared.messages import (
    PARTITIONS,
    CounterBatch,
    FileFound,
    FileStatus,
    Message,
    SetAside,
    Settle,
    SinkPosition,
)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FOR_EVER = -1
MESSAGE_MAX_BYTES = 1_000_000
"""No batch is larger; the producers and the topics are set to it."""


def dead_letters_of(topic: str) -> str:
    """Returns the name of the topic that holds a topic's dead letters."""
    return f"{topic}.dlq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic is a value that names its writers and readers."""

    name: str
    about: str
    messages: tuple[type[Message], ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    key: str
    partitions: int = PARTITIONS
    retention_ms: int = 7 * DAY_MS
    compacted: bool = False

    @property
    def dead_letters(self) -> "Topic":
        """What a reader of this topic set aside, with cause and origin as headers."""
        return replace(
            self,
            name=dead_letters_of(self.name),
            about=f"What readers of {self.name} set aside, bytes unchanged; cause and origin in the headers.",
            writers=self.readers,
            readers=("operator",),
            retention_ms=30 * DAY_MS,
            compacted=False,
        )

    @property
    def config(self) -> dict[str, str]:
        """The topic's settings in Kafka's words."""
        return {
            "cleanup.policy": "compact,delete" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            # Room for the record's headers and framing round a batch of full size.
            "max.message.bytes": str(MESSAGE_MAX_BYTES + 100_000),
        }


FILES_FOUND = Topic(
    name="pm.files.found",
    about="Settled files, announced once by the leader of their system; by a backfill once more.",
    messages=(FileFound,),
    writers=("scanner",),
    readers=("fetcher",),
    key="element",
)
FILES_STATUS = Topic(
    name="pm.files.status",
    about="The ledger: what became of each file, how far each sink is, and what it set aside.",
    messages=(FileStatus, SinkPosition, SetAside),
    writers=("scanner", "fetcher", "mysql_writer", "ch_bridge"),
    readers=("scanner", "tracker"),
    key="file_id, sink/topic/partition or sink/file_id/digest; the partition is the element's, or the counters topic's",
    retention_ms=30 * DAY_MS,
    compacted=True,
)
FILES_SETTLE = Topic(
    name="pm.files.settle",
    about="Commands to move a file to done/ or error/ on its element.",
    messages=(Settle,),
    writers=("tracker",),
    readers=("fetcher",),
    key="file_id; the partition is the element's",
)
CYCLES = Topic(
    name="pm.cycles",
    about="Figures of each system and period: the newest ones.",
    messages=(CycleFigures,),
    writers=("tracker",),
    readers=("mysql_writer", "ch_bridge", "operator"),
    key="system/end of period",
    partitions=1,
    retention_ms=30 * DAY_MS,
    compacted=True,
)


TRACKER_TABLES = tuple(
    Topic(
        name=f"pmflow-tracker-{table}-changelog",
        about=f"The tracker's table of {table}, by Faust.",
        messages=(),
        writers=("tracker",),
        readers=("tracker",),
        key="as the table's",
        retention_ms=FOR_EVER,
        compacted=True,
    )
    for table in ("files", "positions")
)


def counters(system: str) -> Topic:
    """The topic of a system's counters."""
    return Topic(
        name=f"pm.counters.{system}",
        about="Parsed counters of one system, in columnar batches.",
        messages=(CounterBatch,),
        writers=("fetcher",),
        readers=("mysql_writer", "ch_bridge"),
        key="element",
    )


def system_of(counters_topic: str) -> str:
    """The system whose counters a topic carries.

    >>> system_of("pm.counters.4ga")
    '4ga'
    """
    return counters_topic.removeprefix(counters("").name)


def provisioned(systems: Iterable[str]) -> tuple[Topic, ...]:
    """All topics of a deployment with these systems, each beside its dead letters."""
    topics = (FILES_FOUND, FILES_STATUS, FILES_SETTLE, CYCLES, *(counters(system) for system in systems))
    return (*(twin for topic in topics for twin in (topic, topic.dead_letters)), *TRACKER_TABLES)
