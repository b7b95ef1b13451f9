"""Records wait for their own pool only; offsets are committed in order, when the effects are durable."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

import msgspec

from services.fetcher.intake.dispatch import Dispatch
from services.fetcher.intake.pools import Pools
from services.fetcher.intake.topic_intake import Job, TopicIntake
from services.fetcher.intake.waiting_records import Ticket
from shared.health import Heartbeat
from shared.kafka.record import Record, TopicPartition
from shared.messages import BadMessage

WAIT_S = 30.0
TOPIC = "found"


def record(offset: int, pool: str, key: str = "", partition: int = 0) -> Record:
    return Record(TOPIC, partition, offset, (key or f"{pool}-{partition}-{offset}").encode(), pool.encode(), 0.0)


class Topic:
    """A consumer of given records; keeps what is committed."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.left = iter(records)
        self.all_read = Event()
        self.nothing = Event()
        self.paused = Event()
        self.committed: dict[TopicPartition, int] = {}
        self.to_revoke: SimpleQueue[tuple[list[TopicPartition], Event]] = SimpleQueue()
        self.on_revoke: Callable[[Sequence[TopicPartition]], None] = lambda _: None
        self.held: set[str] = set()
        self.closed_with: dict[TopicPartition, int] = {}

    def subscribe(
        self,
        topics: Sequence[str],
        on_assign: Callable[[Sequence[TopicPartition]], None],
        on_revoke: Callable[[Sequence[TopicPartition]], None],
    ) -> None:
        self.on_revoke = on_revoke
        on_assign([TopicPartition(topic, partition) for topic in topics for partition in (0, 1)])

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self.held |= {partition.topic for partition in partitions}

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self.held -= {partition.topic for partition in partitions}

    def poll(self, most: int, _timeout_s: float) -> list[Record]:
        while not self.to_revoke.empty():
            partitions, is_revoked = self.to_revoke.get()
            self.on_revoke(partitions)
            is_revoked.set()
        found = list(islice(self.left, most))
        if not found:
            self.all_read.set()
            self.nothing.wait(0.001)  # as a consumer does while nothing arrives
        return found

    def wait_paused(self, _wait_s: float) -> None:
        self.paused.set()

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.committed |= offsets

    def assignment(self) -> list[TopicPartition]:
        return []

    def position(self, _partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {}

    def close(self) -> None:
        self.closed_with = dict(self.committed)


class Work:
    """The work of the pools: those that hang wait for `leave`; the others are done at once."""

    def __init__(self, *hanging: str) -> None:
        self.hanging = hanging
        self.leave = Event()
        self.lock = Lock()
        self.begun: Counter[str] = Counter()
        self.keys: list[str] = []
        self.done: SimpleQueue[str] = SimpleQueue()
        self.unfinished: list[Callable[[], None]] = []
        """The functions to call when the effects of records of the pool "later" are durable."""

    def ticket(self, one: Record) -> Ticket | None:
        pool = (one.value or b"").decode()
        if pool == "bad":
            raise BadMessage("no record", b"")
        return None if pool == "discarded" else Ticket(pool, one.key_text, one.offset)

    def job(self, one: Record, done: Callable[[], None]) -> Job:
        pool = (one.value or b"").decode()

        def work() -> None:
            with self.lock:
                self.begun[pool] += 1
                self.keys.append(one.key_text)
            if pool in self.hanging:
                self.leave.wait(WAIT_S)
            if pool == "later":
                self.unfinished.append(done)
            else:
                done()
            self.done.put(pool)

        return Job(pool, work)


class Letters:
    """Dead letters in memory."""

    def __init__(self) -> None:
        self.written: list[int] = []

    def write(self, refusals: Sequence[Any]) -> None:
        self.written += [refusal.record.offset for refusal in refusals]


@contextmanager
def running(
    topic: Topic, work: Work, flush: Callable[[float], bool] = lambda _: True, **options: Any
) -> Iterator[TopicIntake]:
    """A dispatch that reads the topic, until the end of the context."""
    intake = taking(TOPIC, work, **options)
    with dispatching(topic, [intake], work, flush):
        yield intake


def taking(topic: str, work: Work, **options: Any) -> TopicIntake:
    return TopicIntake(
        **{
            "topic": topic,
            "letters": Letters(),
            "pools": Pools(lambda: {"4ga": 2, "5ga": 2, "later": 1}),
            "ticket_of": work.ticket,
            "job_of": work.job,
            "in_flight_of": lambda _: 16,
            **options,
        }
    )


@contextmanager
def dispatching(
    topic: Topic, intakes: Sequence[TopicIntake], work: Work, flush: Callable[[float], bool] = lambda _: True
) -> Iterator[None]:
    stop = Event()
    dispatch = Dispatch(
        consumer=topic,  # type: ignore[arg-type]
        intakes=intakes,
        flush=flush,
        heartbeat=Heartbeat(""),
    )
    thread = Thread(target=dispatch.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        work.leave.set()
        thread.join(WAIT_S)


def test_a_system_that_hangs_behind_100_000_announcements_costs_the_others_nothing() -> None:
    """Every file of the other system is done, although nothing of the first one is, and reading never pauses."""
    flood = [record(offset, "4ga") for offset in range(100_000)]
    others = [record(100_000 + offset, "5ga") for offset in range(2_000)]
    topic, work = Topic([*flood[:50_000], *others[:1_000], *flood[50_000:], *others[1_000:]]), Work("4ga")
    with running(topic, work) as intake:
        for _ in others:
            assert work.done.get(timeout=WAIT_S) == "5ga"
        assert topic.all_read.wait(WAIT_S)
        assert not topic.paused.is_set()
        assert work.begun == {"4ga": 2, "5ga": 2_000}
        assert intake.waiting.count == 100_000 - 16
        assert topic.committed == {}


def test_two_systems_with_much_to_do_are_worked_on_side_by_side() -> None:
    """The small system, which comes last, keeps its pace: it is through long before the flood is."""
    flood, others = 20_000, 400
    records = [record(n, "4ga") for n in range(flood)] + [record(flood + n, "5ga") for n in range(others)]
    topic, work = Topic(records), Work()
    with running(topic, work):
        ended = [work.done.get(timeout=WAIT_S) for _ in records]
    assert Counter(ended) == {"4ga": flood, "5ga": others}
    assert len(ended) - ended[::-1].index("5ga") < flood / 2
    assert topic.committed == {TopicPartition(TOPIC, 0): flood + others}


def test_reading_pauses_while_as_many_records_wait_as_may_and_goes_on_then() -> None:
    records = [record(n, "4ga") for n in range(100)]
    topic, work = Topic(records), Work("4ga")
    with running(topic, work, max_waiting=20, in_flight_of=lambda _: 4) as intake:
        assert topic.paused.wait(WAIT_S)
        assert (intake.waiting.count, work.begun.total() <= 4) == (20, True)
        work.leave.set()
        for _ in records:
            work.done.get(timeout=WAIT_S)
    assert topic.committed == {TopicPartition(TOPIC, 0): 100}


def test_of_two_announcements_of_a_file_that_wait_the_later_one_is_worked_on_and_both_are_committed() -> None:
    records = [record(0, "4ga"), record(1, "4ga", "A"), record(2, "4ga", "B"), record(3, "4ga", "A")]
    topic, work = Topic(records), Work("4ga")
    with running(topic, work, in_flight_of=lambda _: 1):
        assert topic.all_read.wait(WAIT_S)
        work.leave.set()
        for _ in range(3):
            work.done.get(timeout=WAIT_S)
    assert work.keys == ["4ga-0-0", "A", "B"]
    assert topic.committed == {TopicPartition(TOPIC, 0): 4}


def test_what_waits_of_a_partition_that_went_to_another_fetcher_is_not_begun() -> None:
    records = [record(n, "4ga", partition=n % 2) for n in range(40)]
    topic, work, revoked = Topic(records), Work("4ga"), Event()
    with running(topic, work, in_flight_of=lambda _: 2) as intake:
        assert topic.all_read.wait(WAIT_S)
        topic.to_revoke.put(([TopicPartition(TOPIC, 1)], revoked))
        assert revoked.wait(WAIT_S)
        assert intake.waiting.count == 19
        work.leave.set()
        for _ in range(21):
            work.done.get(timeout=WAIT_S)
    assert work.keys.count("4ga-1-1") == 1  # was begun before
    assert {key for key in work.keys if key.startswith("4ga-1-")} == {"4ga-1-1"}
    assert topic.committed == {TopicPartition(TOPIC, 0): 39}
    assert intake.in_flight.total() == 0


def test_what_is_still_on_its_way_at_a_stop_is_waited_for_and_then_committed() -> None:
    """Neither work that is queued follows, nor a commit of what is not durable."""
    records = [record(n, "later") for n in range(3)]
    topic, work = Topic(records), Work()

    def flush(_timeout_s: float) -> bool:
        assert topic.committed == {}
        for done in work.unfinished[:2]:
            done()
        return False

    with running(topic, work, flush=flush):
        for _ in records:
            work.done.get(timeout=WAIT_S)
    assert topic.closed_with == {TopicPartition(TOPIC, 0): 2}


def test_a_pool_has_no_more_in_progress_than_it_may_and_the_wait_for_kafka_counts() -> None:
    topic, work = Topic([record(n, "later") for n in range(50)]), Work()
    with running(topic, work, in_flight_of=lambda _: 5) as intake:
        for _ in range(5):
            work.done.get(timeout=WAIT_S)
        assert topic.all_read.wait(WAIT_S)
        assert (work.begun.total(), intake.waiting.count) == (5, 45)
        for done in work.unfinished[:3]:
            done()
        for _ in range(3):
            work.done.get(timeout=WAIT_S)
        assert work.begun.total() == 8


def test_a_record_that_is_refused_or_discarded_waits_for_nothing() -> None:
    topic, work, letters = Topic([record(0, "discarded"), record(1, "bad"), record(2, "4ga")]), Work(), Letters()
    with running(topic, work, letters=letters):
        work.done.get(timeout=WAIT_S)
    assert letters.written == [1]
    assert topic.committed == {TopicPartition(TOPIC, 0): 3}


def test_neither_topic_holds_up_the_other_while_as_many_of_its_records_wait_as_may() -> None:
    """All moves are done although no download ends and the announcements wait; those are read on afterwards."""
    announced = [record(n, "4ga") for n in range(100)]
    commands = [msgspec.structs.replace(record(n, "5ga"), topic="settle") for n in range(50)]
    topic, work = Topic([*announced[:30], *commands, *announced[30:]]), Work("4ga")
    fetch = taking(TOPIC, work, max_waiting=20, in_flight_of=lambda _: 4)
    move = taking("settle", work, max_waiting=20, in_flight_of=lambda _: 4)
    with dispatching(topic, [fetch, move], work):
        for _ in commands:
            assert work.done.get(timeout=WAIT_S) == "5ga"
        assert topic.held == {TOPIC}
        work.leave.set()
        for _ in announced:
            assert work.done.get(timeout=WAIT_S) == "4ga"
    assert topic.held == set()
    assert topic.committed == {TopicPartition(TOPIC, 0): 100, TopicPartition("settle", 0): 50}


def test_a_host_that_hangs_with_a_backlog_leaves_most_of_its_system_to_the_others() -> None:
    """It has 4 of 20 threads and 8 of 40 records in progress, although nearly all of its records came first."""
    work = Work()
    of_hanging, of_others = [record(n, "hangs") for n in range(500)], [record(500 + n, "ends") for n in range(200)]

    def ticket(one: Record) -> Ticket:
        host = "hanging" if one.value == b"hangs" else f"h{one.offset}"
        return Ticket("4ga", one.key_text, one.offset, host)

    def job(one: Record, done: Callable[[], None]) -> Job:
        return replace(work.job(one, done), pool="4ga")

    work.hanging = ("hangs",)
    topic = Topic([*of_others[:4], *of_hanging, *of_others[4:]])
    pools = Pools(lambda: {"4ga": 20})
    with running(topic, work, pools=pools, ticket_of=ticket, job_of=job, in_flight_of=lambda _: 40) as intake:
        for _ in of_others:
            assert work.done.get(timeout=WAIT_S) == "ends"
        assert intake.in_flight_at["4ga", "hanging"] == 8
