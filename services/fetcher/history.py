"""Looks up in the ledger what became of a file, as a second announcement must not overwrite it.

An announcement is answered once. It may be delivered again after a rebalance, and its file may be announced once more
because its lease ended. The fetcher keeps no list of the files that are through: it reads a part of one partition of
the ledger, and only where an announcement may be such a second one (docs/decisions/0024-second-announcements.md).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import time

from shared.configuration.kafka import Kafka
from shared.kafka import admin, consume
from shared.kafka.record import Record
from shared.ledger import decode_status, removed_file
from shared.messages import BadMessage, FileFound, FileStatus, partition_of
from shared.stages import READ_STAGES
from shared.topics import FILES_STATUS

UNDER_WAY = frozenset({"found", "fetching"})
MAY_HIDE = UNDER_WAY | {"lost"}
"""The stages that a second announcement may have written over one in READ_STAGES; `postponed` also means `retry it`."""
CLOCKS_DIFFER_S = 60.0
"""Reading begins this long before the first announcement, as the clocks of the services may differ."""


@dataclass(frozen=True, slots=True)
class EarlierAnswer:
    """The answer to an announcement that was found in the ledger."""

    status: FileStatus
    is_hidden: bool
    """True if a later status hides it in the ledger, so that it must be published again."""

    def hidden(self, now_s: float) -> "EarlierAnswer":
        """Returns the answer to publish after a `fetching` of our own, which the ledger may not show yet."""
        return EarlierAnswer(replace(self.status, at_s=now_s), is_hidden=True)


@dataclass(frozen=True, slots=True)
class FileHistory:
    """The statuses of one file that decide how an announcement of it is treated."""

    newest: FileStatus
    answer: FileStatus | None = None
    """The newest one that answers an announcement."""
    through: FileStatus | None = None
    """The newest one in READ_STAGES."""
    is_retried: bool = False
    """True if the file was `postponed` after that, as an operator does to have it read again."""

    def followed_by(self, status: FileStatus) -> "FileHistory":
        """Returns the history with one more status."""
        return FileHistory(
            newest=status,
            answer=self.answer if status.stage in UNDER_WAY else status,
            through=status if status.stage in READ_STAGES else self.through,
            is_retried=status.stage not in READ_STAGES and (self.is_retried or status.stage == "postponed"),
        )

    def answer_to(self, file: FileFound, *, is_missing: bool, now_s: float) -> EarlierAnswer | None:
        """Returns the earlier answer to an announcement; None if the file must be processed.

        Args:
            file: the announcement. A later one has a higher attempt. An answer to an earlier one counts only if the
                file was read, and is neither retried nor collected again by a backfill.
            is_missing: whether the file is no longer where it was found: then it is what it became before, whichever
                announcement led to it.
            now_s: seconds since 1970.
        """
        is_wanted_again = self.is_retried or bool(file.lies_at)
        known, answer = self.through, self.answer
        if self.is_retried and known and known.stage in {"parsed", "failed"}:
            known = None  # it was never settled, so what was read of it may not have been stored
        if known is None or not (is_missing or known.attempt >= file.attempt or not is_wanted_again):
            known = answer if answer and answer.attempt >= file.attempt else None
        if known is None or (is_missing and known.stage not in READ_STAGES):
            return None
        is_hidden = self.newest.stage in MAY_HIDE - {known.stage} and self.newest.attempt <= file.attempt
        return EarlierAnswer(replace(known, at_s=now_s) if is_hidden else known, is_hidden)


def is_older(file: FileFound, record: Record | None, age_s: float, now_s: float) -> bool:
    """Returns whether an announcement is so old that its file may have been removed from the ledger since.

    Args:
        file: the announcement. A backfill is never too old, as an operator asks for it.
        record: its record in the topic; it may have been copied there lately.
        age_s: time for which the ledger keeps a file at least.
        now_s: seconds since 1970.
    """
    announced_s = [file.found_s if file.attempt == 1 else 0.0, record.timestamp_s if record else 0.0]
    return not file.lies_at and any(0 < at_s < now_s - age_s for at_s in announced_s)


def histories(records: Iterable[Record], wanted: Iterable[str]) -> dict[str, FileHistory]:
    """Returns the histories of the wanted files by id, from records of the ledger in order.

    The history of a file that was removed from the ledger begins anew, as the compaction of the topic may have left no
    status from before.
    """
    found: dict[str, FileHistory] = {}
    keys = {file_id.encode() for file_id in wanted}
    for record in records:
        if record.key not in keys:
            continue
        if record.value is None:
            found.pop(removed_file(record.key), None)
            continue
        try:
            status = decode_status(record.value)
        except BadMessage:
            continue  # the tracker reports it
        if isinstance(status, FileStatus):
            found[status.file_id] = found.get(status.file_id, FileHistory(status)).followed_by(status)
    return found


@dataclass(frozen=True)
class LedgerLookup:
    """Finds the histories of files. Blocks; its cost depends on how long ago the files were first announced."""

    brokers: Kafka
    now: Callable[[], float] = time

    def __call__(self, files: Sequence[FileFound]) -> Mapping[str, FileHistory]:
        """Returns the histories by file id; a file that the ledger does not have is left out.

        Raises:
            Unreachable: Kafka does not answer.
            KafkaFailure: Kafka refuses.
        """
        if not files:
            return {}
        wanted: dict[int, set[str]] = defaultdict(set)
        for file in files:
            wanted[partition_of(file.element)].add(file.file_id)
        first = self._first_offsets(min(file.found_s for file in files))
        ends = {p: end for p, end in admin.ends(self.brokers, FILES_STATUS).items() if p in wanted}
        part = consume.OffsetRange(FILES_STATUS, {p: ends[p] if first[p] < 0 else first[p] for p in ends}, ends)
        batches = consume.read_range(self.brokers, "pmflow-fetcher-lookup", part, 10_000)
        return histories((record for records in batches for record in records), set().union(*wanted.values()))

    def _first_offsets(self, found_s: float) -> Mapping[int, int]:
        """Returns where to begin; at the first offset if the time of the first announcement is not known."""
        since_s = min(found_s, self.now()) - CLOCKS_DIFFER_S
        return admin.begins(self.brokers, FILES_STATUS, int(since_s * 1000) if since_s > 0 else None)
