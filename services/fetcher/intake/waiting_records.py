"""Records that wait in memory for the pool of their system, those of each host by themselves. Pure."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import islice

from services.fetcher.intake.offsets import OffsetOrder
from shared.kafka.record import Record, TopicPartition

MOST_PER_TURN = 16
"""Most records of a host that are taken before another host has its turn: files that are fetched over one session."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """The pool that a record waits for. Of two records with the same key, the one with the higher rank is worked on."""

    pool: str
    key: str
    rank: int
    host: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TakenRecord:
    """A record that was read and is not finished, and the order in which the offsets of its partition are committed."""

    record: Record
    in_order: OffsetOrder
    host: str = ""


_Queue = dict[str, tuple[int, TakenRecord]]
"""Records by key, with their rank, in the order in which they are taken."""


@dataclass
class WaitingRecords:
    """A queue for each host of each pool, so that none waits for another. Owned by the thread that reads."""

    of_pool: dict[str, dict[str, _Queue]] = field(default_factory=dict)
    """Pool -> host -> records; the hosts in the order of their turns."""
    count: int = 0

    def put(self, ticket: Ticket, taken: TakenRecord) -> TakenRecord | None:
        """Adds a record. Returns the one that needs no work, if another with the same key waits already."""
        waiting = self.of_pool.setdefault(ticket.pool, {}).setdefault(ticket.host, {})
        before = waiting.get(ticket.key)
        if before is None:
            self.count += 1
        elif before[0] > ticket.rank:
            return taken
        waiting[ticket.key] = ticket.rank, taken
        return before and before[1]

    def counts(self) -> Counter[str]:
        """Returns the number of records that wait for each pool."""
        return Counter({pool: sum(map(len, hosts.values())) for pool, hosts in self.of_pool.items()})

    def take(self, pool: str, most: int, most_of: Callable[[str], int] | None = None) -> list[TakenRecord]:
        """Removes and returns records of a pool: those of its hosts in turn, and of each those that came first.

        Args:
            pool: the pool.
            most: largest number of records.
            most_of: returns the largest number of them for a host.
        """
        hosts = self.of_pool.get(pool, {})
        taken: list[TakenRecord] = []
        of_host: Counter[str] = Counter()
        full: dict[str, _Queue] = {}
        while hosts and len(taken) < most:
            host = next(iter(hosts))
            waiting = hosts.pop(host)
            left = most - len(taken)
            may = min(left, MOST_PER_TURN, left if most_of is None else most_of(host) - of_host[host])
            keys = list(islice(waiting, max(0, may)))
            taken += (waiting.pop(key)[1] for key in keys)
            of_host[host] += len(keys)
            if waiting:
                (hosts if keys else full)[host] = waiting
        hosts |= full
        self.count -= len(taken)
        if not hosts:
            self.of_pool.pop(pool, None)
        return taken

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Removes the records of partitions that another fetcher reads from now on."""
        kept: dict[str, dict[str, _Queue]] = {}
        for pool, hosts in self.of_pool.items():
            for host, waiting in hosts.items():
                left = {key: one for key, one in waiting.items() if one[1].record.topic_partition not in partitions}
                self.count -= len(waiting) - len(left)
                if left:
                    kept.setdefault(pool, {})[host] = left
        self.of_pool = kept
