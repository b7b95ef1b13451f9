"""Dead letters: records, or parts of records, that cannot be processed, kept in a topic beside their own.

The headers contain the reason, the origin (topic/partition/offset of the record, or the path of a file), the sink or
the reader that set it aside, and after a defect the traceback. A letter with the header `settled` has no content: it
marks another letter as dealt with.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from shared import metrics
from shared.configuration.kafka import Kafka
from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget, nothing_to_renew
from shared.defects import REASON as DEFECT
from shared.kafka.admin import begins, ends
from shared.kafka.consume import OffsetRange, read_range
from shared.kafka.produce import Outgoing, Producer, TooLarge
from shared.kafka.record import Record, TopicPartition
from shared.messages import SetAside, bounded_text, digest_of, set_aside_key
from shared.topics import FILES_STATUS, Topic, dead_letters_of
from shared.versions import content_digest

log = logging.getLogger(__name__)
REASON, ORIGIN, SINK, READER, TRACEBACK, SETTLED = "reason", "origin", "sink", "reader", "traceback", "settled"
LONGEST_TRACEBACK = 16_000
"""Most bytes of a traceback in a header; its end counts."""


def dead_letter(at: TopicPartition, key: str, content: bytes, reason: str, origin: str) -> Outgoing:
    """Returns a dead letter for a topic, in the partition with the same number."""
    headers = {REASON: bounded_text(reason), ORIGIN: origin}
    return Outgoing(dead_letters_of(at.topic), at.partition, key, content, headers)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record, or a part of it, that is to be set aside."""

    record: Record
    reason: str
    content: bytes | None = None
    """The part; None: the whole record."""
    entries: Sequence[SetAside] = ()
    """Entries for the ledger, which are written together with the letter."""
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Sets records aside for one reader of a topic."""

    producer: Producer
    sink: str = ""
    """Name of the sink that refuses records; empty if the reader is not a sink."""
    reader: str = ""
    """Name of a reader that is not a sink."""

    def set_aside(self, record: Record, reason: str) -> None:
        """Writes a record to the dead letters, see `write`."""
        self.write([Refusal(record, reason)])

    def set_aside_defect(self, record: Record, defect: Defect) -> None:
        """Writes a record on which the code fails to the dead letters, see `write`."""
        self.write([Refusal(record, defect.reason, traceback=defect.traceback)])

    def write(self, refusals: Sequence[Refusal]) -> None:
        """Writes dead letters, all durably after one wait; counts and logs them.

        A letter that its topic does not accept because of its size is written without its content.

        Raises:
            Unreachable: Kafka did not take one; the records do not count as processed.
        """
        try:
            self.producer.deliver(*(message for refusal in refusals for message in self._messages(refusal)))
        except TooLarge:
            for refusal in refusals:
                self._write_alone(refusal)
        for refusal in refusals:
            self._report(refusal)

    def _letter(self, refusal: Refusal) -> Outgoing:
        record = refusal.record
        content = record.value or b"" if refusal.content is None else refusal.content
        letter = dead_letter(record.topic_partition, record.key_text, content, refusal.reason, record.origin)
        traceback = refusal.traceback.encode(errors="backslashreplace")[-LONGEST_TRACEBACK:].decode(errors="ignore")
        more = {SINK: self.sink, READER: self.reader, TRACEBACK: traceback}
        return replace(letter, headers={**letter.headers, **{name: text for name, text in more.items() if text}})

    def _report(self, refusal: Refusal) -> None:
        metrics.DEAD_LETTERS.labels(refusal.record.topic).inc()
        files = {"files": [entry.file_id for entry in refusal.entries]} if refusal.entries else {}
        facts = {REASON: bounded_text(refusal.reason), ORIGIN: refusal.record.origin}
        log.error("record set aside", extra={**files, **facts, **({SINK: self.sink} if self.sink else {})})

    def _messages(self, refusal: Refusal) -> list[Outgoing]:
        entries = (Outgoing(FILES_STATUS.name, e.partition, e.key, e.encode()) for e in refusal.entries)
        return [self._letter(refusal), *entries]

    def _write_alone(self, refusal: Refusal) -> None:
        try:
            self.producer.deliver(*self._messages(refusal))
        except TooLarge as error:
            reason = bounded_text(f"content left out, as it is too large ({error}): {refusal.reason}")
            self.producer.deliver(*self._messages(replace(refusal, reason=reason, content=b"")))


@dataclass
class EarlierDefects:
    """Recognises records that a reader set aside after defects before; reads its dead letters when first asked.

    For readers that start at the beginning of their topic: they meet such records again at every start.
    """

    brokers: Kafka
    topic: Topic
    reader: str
    origins: set[str] | None = field(default=None, init=False)

    def __call__(self, record: Record) -> bool:
        if self.origins is None:
            self.origins = {
                letter.headers.get(ORIGIN, "")
                for letter in all_letters(self.brokers, self.topic)
                if letter.headers.get(READER) == self.reader and letter.headers.get(REASON, "").startswith(DEFECT)
            }
        return record.origin in self.origins


def all_letters(brokers: Kafka, topic: Topic) -> Iterable[Record]:
    """Yields the dead letters of a topic, up to the present end."""
    letters = topic.dead_letters
    part = OffsetRange(letters, begins(brokers, letters), ends(brokers, letters))
    for some in read_range(brokers, f"pmflow-reader-of-{letters.name}", part, 1000):
        yield from some


def contained_records(
    handle: Callable[[Sequence[Record]], None],
    letters: DeadLetters,
    budget: DefectBudget,
    renew: Callable[[], None] = nothing_to_renew,
    is_known: Callable[[Record], bool] = lambda _: False,
) -> Contained[Record]:
    """Returns a handler of records that sets those aside on which `handle` fails."""

    def origin(record: Record) -> str:
        return record.origin

    return Contained(handle, renew, letters.set_aside_defect, budget, origin, NO_RECORDS_FAULT, is_known)


def unsettled(letters: Iterable[Record]) -> list[Record]:
    """Returns the letters that nobody has dealt with yet, each once even if it was written again.

    The same content that is set aside after its letter was dealt with is a new letter: a retry has failed.

    Args:
        letters: letters and the marks of those dealt with; those of one partition in their order.
    """
    left: dict[tuple[str, ...], Record] = {}
    identities: dict[str, tuple[str, ...]] = {}
    for letter in letters:
        if SETTLED in letter.headers:
            left.pop(identities.get(letter.headers[SETTLED], ()), None)
        else:
            identities[letter.origin] = _identity(letter)
            left.setdefault(identities[letter.origin], letter)
    return list(left.values())


def _identity(letter: Record) -> tuple[str, ...]:
    """Returns what two letters have in common if one repeats the other."""
    headers = (letter.headers.get(name, "") for name in (ORIGIN, SINK, READER))
    return (*headers, digest_of(letter.value or b""))


def settlement(letter: str, key: str) -> Outgoing:
    """Returns the letter that marks another one, named by its topic/partition/offset, as dealt with."""
    topic, partition, _ = letter.rsplit("/", 2)
    return Outgoing(topic, int(partition), key, b"", {SETTLED: letter})


def retraction(sink: str, file_id: str, content: bytes, partition: int) -> Outgoing:
    """Returns the tombstone that deletes from the ledger that a sink set this content aside."""
    return Outgoing(FILES_STATUS.name, partition, set_aside_key(sink, file_id, content_digest(content)), None)
