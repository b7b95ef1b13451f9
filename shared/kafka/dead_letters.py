"""Dead letters: records, or parts of records, that cannot be processed, kept in a topic beside their own.

The headers contain the reason, the origin (topic/partition/offset of the record, or the path of a file) and, if a sink
refused it, the sink. A letter with the header `settled` has no content: it marks another letter as dealt with.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from shared import metrics
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import Record, TopicPartition
from shared.messages import SetAside, digest_of, set_aside_key
from shared.topics import FILES_STATUS, dead_letters_of

log = logging.getLogger(__name__)
REASON, ORIGIN, SINK, SETTLED = "reason", "origin", "sink", "settled"
LONGEST_REASON = 2_000


def dead_letter(at: TopicPartition, key: str, content: bytes, reason: str, origin: str) -> Outgoing:
    """Returns a dead letter for a topic, in the partition with the same number."""
    headers = {REASON: reason[:LONGEST_REASON], ORIGIN: origin}
    return Outgoing(dead_letters_of(at.topic), at.partition, key, content, headers)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Sets records aside for one reader of a topic."""

    producer: Producer
    sink: str = ""
    """Name of the sink that refuses records; empty if the reader is not a sink."""

    def set_aside(
        self, record: Record, reason: str, content: bytes | None = None, entries: Sequence[SetAside] = ()
    ) -> None:
        """Writes a record (or `content`, a part of it) to the dead letters, durably; counts and logs it.

        The `entries` for the ledger are written together with the letter.

        Raises:
            Unreachable: Kafka did not take it; the record does not count as processed.
        """
        content = record.value or b"" if content is None else content
        letter = dead_letter(record.topic_partition, record.key_text, content, reason, record.origin)
        if self.sink:
            letter = replace(letter, headers={**letter.headers, SINK: self.sink})
        self.producer.deliver(letter, *(Outgoing(FILES_STATUS.name, e.partition, e.key, e.encode()) for e in entries))
        metrics.DEAD_LETTERS.labels(record.topic).inc()
        files = {"files": [entry.file_id for entry in entries]} if entries else {}
        log.error("record set aside", extra={**files, **letter.headers})


def unsettled(letters: Iterable[Record]) -> list[Record]:
    """Returns the letters that nobody has dealt with yet."""
    found = list(letters)
    settled = {letter.headers[SETTLED] for letter in found if SETTLED in letter.headers}
    return [letter for letter in found if SETTLED not in letter.headers and letter.origin not in settled]


def settlement(letter: str, key: str) -> Outgoing:
    """Returns the letter that marks another one, named by its topic/partition/offset, as dealt with."""
    topic, partition, _ = letter.rsplit("/", 2)
    return Outgoing(topic, int(partition), key, b"", {SETTLED: letter})


def retraction(sink: str, file_id: str, content: bytes, partition: int) -> Outgoing:
    """Returns the tombstone that deletes from the ledger that a sink set this content aside."""
    return Outgoing(FILES_STATUS.name, partition, set_aside_key(sink, file_id, digest_of(content)), None)
