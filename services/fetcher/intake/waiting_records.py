"""Records that wait in memory for the pool of their system. Pure."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice

from services.fetcher.intake.offsets import OffsetOrder
from shared.kafka.record import Record, TopicPartition
from shared.messages import Settle


@dataclass(frozen=True, slots=True)
class Ticket:
    """The pool that a record waits for. Of two records with the same key, the one with the higher rank is worked on."""

    pool: str
    key: str
    rank: int


def ticket_of_command(record: Record) -> Ticket:
    """Returns the ticket of a command: a later one for the same file replaces it.

    Raises:
        BadMessage: not a command.
    """
    return Ticket("moves", Settle.decode(record.value or b"").file_id, record.offset)


@dataclass(frozen=True, slots=True, eq=False)
class TakenRecord:
    """A record that was read and is not finished, and the order in which the offsets of its partition are committed."""

    record: Record
    in_order: OffsetOrder


@dataclass
class WaitingRecords:
    """A queue for each pool, so that no pool waits for another. Owned by the thread that reads."""

    of_pool: dict[str, dict[str, tuple[int, TakenRecord]]] = field(default_factory=dict)
    """The records of a pool by key, with their rank, in the order in which they are taken."""
    count: int = 0

    def put(self, ticket: Ticket, taken: TakenRecord) -> TakenRecord | None:
        """Adds a record. Returns the one that needs no work, if another with the same key waits already."""
        waiting = self.of_pool.setdefault(ticket.pool, {})
        before = waiting.get(ticket.key)
        if before is None:
            self.count += 1
        elif before[0] > ticket.rank:
            return taken
        waiting[ticket.key] = ticket.rank, taken
        return before and before[1]

    def counts(self) -> Counter[str]:
        """Returns the number of records that wait for each pool."""
        return Counter({pool: len(waiting) for pool, waiting in self.of_pool.items()})

    def take(self, pool: str, most: int) -> list[TakenRecord]:
        """Removes and returns the records of a pool that came first."""
        waiting = self.of_pool.get(pool, {})
        taken = [waiting.pop(key)[1] for key in list(islice(waiting, most))]
        self.count -= len(taken)
        if not waiting:
            self.of_pool.pop(pool, None)
        return taken

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Removes the records of partitions that another fetcher reads from now on."""
        for pool, waiting in list(self.of_pool.items()):
            left = {key: one for key, one in waiting.items() if one[1].record.topic_partition not in partitions}
            self.count -= len(waiting) - len(left)
            self.of_pool[pool] = left
        self.of_pool = {pool: left for pool, left in self.of_pool.items() if left}
