"""The loop of a sink, with topics in memory: a flood or a refused table of one system costs the others nothing."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any

import pytest

from shared.errors import Hopeless, Unreachable
from shared.health import Heartbeat
from shared.kafka.record import TopicPartition
from shared.messages import CounterBatch
from shared.sinks import metrics
from shared.sinks.limits import SinkLimits
from shared.sinks.loop import SinkWorker
from shared.sinks.positions import PositionsMoved
from tests.fakes.topics import SentRecords, Topics

FLOOD, SMALL = "pm.counters.flood", "pm.counters.small"


def batch(system: str, number: int, group: str = "G") -> bytes:
    return CounterBatch(
        system=system, file_id=f"{number:016}", element="e", group=group, job="", gp_s=900, end_s=900,
        end_offset_min=0, ver=1, counters=["a"], rows=[["o", 0, 1]],
    ).encode()  # fmt: skip


class Database:
    """A sink in memory, which may be away, locked for single systems, or fail otherwise."""

    name = "fair-test"

    def __init__(self) -> None:
        self.writes: list[Counter[str]] = []
        """Number of batches by system, of each write that succeeded."""
        self.stored: dict[str, list[int]] = defaultdict(list)
        self.positions: dict[TopicPartition, int] = {}
        self.locked: set[str] = set()
        self.failed: list[Counter[str]] = []
        self.is_away = False
        self.asked = 0
        """Number of times that it did not answer a question."""
        self.on_write: Callable[[], None] = lambda: None
        self.moved: dict[TopicPartition, tuple[int, int]] = {}

    def resume(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        if self.is_away:
            self.asked += 1
            raise Unreachable("away")
        return {at: self.positions.get(at, 0) for at in partitions}

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> None:
        systems = Counter(batch.system for batch in batches)
        try:
            self._check(batches, systems.keys())
        except Exception:
            self.failed.append(systems)
            self.on_write()
            raise
        for one in batches:
            self.stored[one.system].append(int(one.file_id))
        self.positions |= positions
        if systems:
            self.writes.append(systems)
        self.on_write()

    def _check(self, batches: Sequence[CounterBatch], systems: Any) -> None:
        if self.moved:
            moved, self.moved = self.moved, {}
            raise PositionsMoved(moved)
        if self.is_away or systems & self.locked:
            raise Unreachable("away" if self.is_away else "a table is locked")
        if any(one.group == "defect" for one in batches):
            raise KeyError("defect")
        if any(one.group == "poison" for one in batches):
            raise Hopeless("poison")

    def renew(self) -> None:
        pass


def running(topics: Topics, database: Database, until: Callable[[], bool], **limits: Any) -> SentRecords:
    """Runs a loop until the condition holds, looked at after each write and before each poll; returns what it sent."""
    stop = Event()

    def look() -> None:
        before()
        if until():
            stop.set()

    before, database.on_write = database.on_write, look
    topics.on_poll = look
    settings = SinkLimits(**{"batch_rows": 100, "batch_wait_s": 0.01, "longest_backoff_s": 0.001, **limits})
    producer = SentRecords()
    worker = SinkWorker(database, topics, producer, settings, Heartbeat(""))  # type: ignore[arg-type]
    worker.run(lambda: sorted(topics.by_topic()), stop)
    return producer


def systems(flood: int, small: int, partitions: int = 1) -> Topics:
    """Two topics; the flood is first in the queue of Kafka's client. Files are numbered in each partition."""
    made = Topics()
    for partition in range(partitions):
        made.put(FLOOD, partition, [batch("flood", partition * 10_000 + n) for n in range(flood)])
    for partition in range(partitions):
        made.put(SMALL, partition, [batch("small", partition * 10_000 + n) for n in range(small)])
    return made


def in_order(stored: Sequence[int], partitions: int, size: int) -> bool:
    """Returns whether each message was stored once, those of each partition in their order."""
    by_partition = [[n % 10_000 for n in stored if n // 10_000 == p] for p in range(partitions)]
    return by_partition == [list(range(size))] * partitions


def test_a_small_system_is_stored_within_its_own_number_of_writes_though_another_has_a_backlog() -> None:
    topics, database = systems(flood=5_000, small=90), Database()
    running(topics, database, lambda: len(database.stored["flood"]) == 5_000)
    assert sum(write["small"] for write in database.writes[:2]) == 90
    assert all(write.total() == 100 for write in database.writes[:-1])
    assert in_order(database.stored["flood"], 1, 5_000)
    assert in_order(database.stored["small"], 1, 90)
    assert topics.committed_offsets == {TopicPartition(FLOOD, 0): 5_000, TopicPartition(SMALL, 0): 90}


def test_a_system_that_keeps_sending_has_its_share_of_each_write_during_a_flood() -> None:
    """Its messages come while the flood is written: 10 with each write."""
    topics, database = systems(flood=5_000, small=10), Database()

    def send() -> None:
        if len(database.stored["flood"]) < 4_000:
            left = len(topics.logs[TopicPartition(SMALL, 0)])
            if left - len(database.stored["small"]) < 10:
                topics.put(SMALL, 0, [batch("small", left + n) for n in range(10)])

    database.on_write = send
    running(topics, database, lambda: len(database.stored["flood"]) == 5_000)
    until = next(n for n in range(len(database.writes)) if sum(w["flood"] for w in database.writes[:n]) >= 4_000)
    writes_with_small = sum(write["small"] > 0 for write in database.writes[:until])
    assert writes_with_small >= 0.8 * until


def test_one_system_alone_fills_each_write_and_nothing_is_fetched_twice() -> None:
    topics, database = Topics(), Database()
    topics.put(FLOOD, 0, [batch("flood", n) for n in range(3_000)])
    running(topics, database, lambda: len(database.stored["flood"]) == 3_000)
    assert [write["flood"] for write in database.writes] == [100] * 30
    assert topics.thrown_away == 0


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_system_whose_table_is_locked_waits_alone_and_is_stored_once_afterwards(
    partitions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.sinks.loop.CHECK_S", 0.0)  # what waits is no gap in the topic
    topics, database = systems(flood=300, small=400, partitions=partitions), Database()
    database.locked = {"flood"}
    waits = metrics.TOPIC_WAITS.labels("fair-test", FLOOD)._value.get()

    def unlock() -> None:
        if len(database.stored["small"]) == 400 * partitions:
            database.locked = set()

    database.on_write = unlock
    sent = running(topics, database, lambda: len(database.stored["flood"]) == 300 * partitions)
    assert in_order(database.stored["small"], partitions, 400)
    assert in_order(database.stored["flood"], partitions, 300)
    small_done_at = max(n for n, write in enumerate(database.writes) if write["small"])
    assert not any(write["flood"] for write in database.writes[:small_done_at])
    assert metrics.TOPIC_WAITS.labels("fair-test", FLOOD)._value.get() > waits
    assert sum(failed["small"] > 0 for failed in database.failed) == 1  # the first write only, of both
    assert {at: database.positions[at] for at in topics.logs} == {at: len(log) for at, log in topics.logs.items()}
    assert not any(b"offset-gap" in (one.value or b"") for one in sent.sent)


def test_a_try_that_took_long_is_repeated_only_when_the_others_have_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.sinks.waiting_topics.REST_PER_TRY", 1e9)
    topics, database = systems(flood=300, small=2_000), Database()
    database.locked = {"flood"}

    def unlock() -> None:
        if len(database.stored["small"]) < 2_000:
            assert len(database.failed) <= 2  # together, and alone
        elif len(database.failed) > 2:
            database.locked = set()

    database.on_write = unlock
    running(topics, database, lambda: len(database.stored["flood"]) == 300)
    assert in_order(database.stored["flood"], 1, 300)


def test_a_database_that_is_away_for_all_is_waited_for_as_before_and_no_topic_is_tried_alone() -> None:
    topics, database = systems(flood=200, small=200), Database()

    def come_back() -> None:
        database.is_away = len(database.writes) == 1 and len(database.failed) < 5

    database.on_write = come_back
    running(topics, database, lambda: len(database.stored["flood"]) + len(database.stored["small"]) == 400)
    assert [failed.keys() for failed in database.failed] == [{"flood", "small"}] * 5
    assert (database.asked, len(topics.waited)) == (4, 4)  # the fifth time, it answers again
    assert in_order(database.stored["flood"], 1, 200)
    assert in_order(database.stored["small"], 1, 200)


def test_what_waits_of_a_partition_that_moved_away_is_read_again_and_stored_once() -> None:
    topics, database = systems(flood=300, small=300), Database()
    database.locked, revoked = {"flood"}, False

    def change() -> None:
        nonlocal revoked
        if len(database.stored["small"]) == 300 and not revoked:
            revoked = True
            topics.revoke(TopicPartition(FLOOD, 0))
            database.locked = set()

    database.on_write = change
    running(topics, database, lambda: len(database.stored["flood"]) == 300, longest_backoff_s=0.1)
    assert revoked
    assert in_order(database.stored["flood"], 1, 300)


def test_records_that_come_with_the_poll_in_which_their_partition_moves_away_are_not_kept() -> None:
    topics, database = systems(flood=300, small=300), Database()
    revoked = False

    def change() -> None:
        nonlocal revoked
        if topics.delivered[TopicPartition(FLOOD, 0)] >= 150 and not revoked:
            revoked = True
            topics.revoke(TopicPartition(FLOOD, 0))

    database.on_write = change
    running(topics, database, lambda: len(database.stored["flood"]) >= 300 and len(database.stored["small"]) == 300)
    assert revoked
    assert in_order(database.stored["flood"], 1, 300)


def test_positions_that_moved_in_the_database_drop_what_waits_and_everything_is_read_again() -> None:
    topics, database = systems(flood=300, small=300), Database()
    at = TopicPartition(FLOOD, 0)
    database.locked, moved = {"flood"}, False

    def change() -> None:
        nonlocal moved
        if len(database.stored["small"]) >= 200 and not moved:
            moved = True
            database.moved = {at: (0, 0)}
            database.locked = set()

    database.on_write = change
    running(topics, database, lambda: len(database.stored["flood"]) == 300)
    assert moved
    assert in_order(database.stored["flood"], 1, 300)
    assert sorted(set(database.stored["small"])) == list(range(300))


def test_poison_and_defects_of_a_system_that_waits_are_set_aside_once_and_the_rest_is_stored() -> None:
    topics, database = Topics(), Database()
    kinds = {7: "poison", 11: "defect"}
    topics.put(FLOOD, 0, [batch("flood", n, kinds.get(n, "G")) for n in range(40)])
    topics.put(SMALL, 0, [batch("small", n, kinds.get(n, "G")) for n in range(40)])
    database.locked = {"flood"}

    def unlock() -> None:
        if len(set(database.stored["small"])) == 38:
            database.locked = set()

    database.on_write = unlock
    end = {TopicPartition(topic, 0): 40 for topic in (FLOOD, SMALL)}
    sent = running(topics, database, lambda: topics.committed_offsets == end)
    wanted = [n for n in range(40) if n not in kinds]
    assert sorted(set(database.stored["flood"])) == wanted
    assert sorted(set(database.stored["small"])) == wanted
    assert sorted(sent.origins_set_aside()) == sorted(f"{topic}/0/{n}" for topic in (FLOOD, SMALL) for n in kinds)
