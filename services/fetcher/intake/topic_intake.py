"""TopicIntake: what is done with the records of one topic, and those of them that wait or are worked on."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from services.fetcher.intake.host_share import share_of_host
from services.fetcher.intake.pools import Pools
from services.fetcher.intake.waiting_records import TakenRecord, Ticket, WaitingRecords
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.record import Record, TopicPartition


@dataclass(frozen=True, slots=True)
class Job:
    """The work that a record asks for, and the pool that does it. Several records may share their work."""

    pool: str
    work: Callable[[], None]


@dataclass(kw_only=True)
class TopicIntake:
    """The records of one topic. They wait in memory, those of each pool and host by themselves.

    A pool or a host that is slow or has much to do holds up no other.
    """

    topic: str
    letters: DeadLetters
    pools: Pools
    ticket_of: Callable[[Record], Ticket | None]
    """Returns where a record waits; None: nothing needs to be done. Called for each record, in order.

    Raises BadMessage for a record that is then set aside.
    """
    job_of: Callable[[Record, Callable[[], None]], Job]
    """Returns the job for a record; the second argument must be called once all its effects are durable.

    Raises BadMessage for a record that is then set aside.
    """
    in_flight_of: Callable[[str], int]
    """Returns how many records a pool may work on at once, those included whose effects are not durable yet."""
    max_waiting: int = 150_000
    """Most records that wait in memory, about; what is not read stays in the topic."""
    waiting: WaitingRecords = field(default_factory=WaitingRecords)
    in_flight: Counter[str] = field(default_factory=Counter)
    """The number of records that each pool works on."""
    in_flight_at: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(Pool, host) -> the number of records that the pool works on."""
    hosts: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Pool -> every host of which records were read."""
    is_paused: bool = False

    @property
    def room(self) -> int:
        """The number of records that may be read."""
        return max(0, self.max_waiting - self.waiting.count)

    def must_pause(self) -> bool:
        """Returns whether reading must pause: until a tenth is free again, as each pause discards what was fetched."""
        return self.room < (max(1, self.max_waiting // 10) if self.is_paused else 1)

    def put(self, ticket: Ticket, taken: TakenRecord) -> TakenRecord | None:
        """Has a record wait. Returns the one that needs no work, if another with the same key waits already."""
        self.hosts[ticket.pool].add(ticket.host)
        return self.waiting.put(ticket, taken)

    def take(self, pool: str) -> list[TakenRecord]:
        """Removes and returns as many of the waiting records as the pool may work on; each counts as in flight."""
        total = self.in_flight_of(pool)
        of_host = share_of_host(total, len(self.hosts[pool]))
        taken = self.waiting.take(
            pool, max(0, total - self.in_flight[pool]), lambda host: of_host - self.in_flight_at[pool, host]
        )
        self.in_flight[pool] += len(taken)
        self.in_flight_at.update((pool, one.host) for one in taken)
        return taken

    def finish(self, pool: str, taken: TakenRecord) -> None:
        """Takes a record off those in flight."""
        self.in_flight[pool] -= 1
        at = pool, taken.host
        self.in_flight_at[at] -= 1
        if not self.in_flight_at[at]:
            del self.in_flight_at[at]

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forgets what waits of partitions that another fetcher reads from now on."""
        self.waiting.drop(partitions)
        self.hosts.clear()
        for pool, hosts in self.waiting.of_pool.items():
            self.hosts[pool].update(hosts)
