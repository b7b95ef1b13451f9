"""The sink loop on a real broker: messages are stored, set aside or read again; announced positions are durable."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event, Thread
from time import monotonic
from typing import Any, Generic, TypeVar

import pytest

from shared import topics
from shared.configuration.kafka import Kafka
from shared.errors import Hopeless, Unreachable
from shared.health import Heartbeat
from shared.kafka import admin
from shared.kafka.consume import Consumer, follow_all
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import Record, TopicPartition
from shared.messages import CounterBatch, SetAside, SinkPosition
from shared.sinks.gather import MESSAGES_PER_POLL
from shared.sinks.landing import RefusedCounters
from shared.sinks.limits import SinkLimits
from shared.sinks.loop import SinkWorker
from shared.sinks.sink import Sink
from shared.topics import FILES_STATUS, Topic
from tools.cli.operate import ledger
from tools.devstack.stack import Stack

PARTITION = 3


class Memory:
    """A sink in memory that can be switched off, and that refuses some batches."""

    name = "memory"

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.largest = 0
        """Number of batches in the largest write."""
        self.away = Event()
        self.refused = Event()
        self.keeps_positions = False
        """True for a database that stores positions with its rows, as MySQL does."""
        self.positions: dict[TopicPartition, int] = {}

    def resume(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {at: self.positions[at] for at in partitions if self.keeps_positions and at in self.positions}

    def renew(self) -> None:
        pass

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> None:
        if self.away.is_set():
            self.refused.set()
            raise Unreachable("away")
        if any(batch.group == "poison" for batch in batches):
            raise Hopeless("it is poison")
        refused = {(b.system, b.group, "unknown"): "not wanted" for b in batches if "unknown" in b.counters}
        if refused:
            raise RefusedCounters(refused)
        self.stored += [short(batch.file_id) for batch in batches]
        self.positions.update(positions)
        self.largest = max(self.largest, len(batches))


def short(file_id: str) -> str:
    return str(int(file_id))


def batch(file_id: str, group: str = "G", counters: tuple[str, ...] = ("a",)) -> bytes:
    return CounterBatch(
        system="s", file_id=f"{int(file_id):016}", element="e", group=group, job="", gp_s=900, end_s=900,
        end_offset_min=0, ver=1, counters=list(counters), rows=[["o", 0, *range(len(counters))]],
    ).encode()  # fmt: skip


S = TypeVar("S", bound=Sink)


class Running(Generic[S]):
    """A loop over a topic of its own, or over one that another loop reads too."""

    def __init__(self, brokers: Kafka, sink: S, topic: Topic | None = None) -> None:
        self.brokers = brokers
        self.topic = topic or topics.counters_topic(uuid.uuid4().hex[:8])
        admin.provision(brokers, [self.topic, self.topic.dead_letters, FILES_STATUS])
        self.producer = Producer(brokers)
        self.sink = sink
        self.stop = Event()
        self.thread: Thread | None = None

    def start(self, **limited: int) -> None:
        consumer = Consumer(self.brokers, f"{self.sink.name}-of-{self.topic.name}")
        limits = SinkLimits(batch_wait_s=0.2, announce_s=0.1, longest_backoff_s=0.3, **limited)
        worker = SinkWorker(self.sink, consumer, self.producer, limits, Heartbeat(""))
        self.thread = Thread(target=worker.run, args=(lambda: [self.topic.name], self.stop))
        self.thread.start()

    def send(self, *values: bytes) -> None:
        self.producer.deliver(*(Outgoing(self.topic.name, PARTITION, "e", value) for value in values))

    def pause(self) -> None:
        self.stop.set()
        if self.thread is not None:
            self.thread.join()
        self.stop.clear()

    def end(self) -> None:
        self.pause()
        self.producer.close()

    def told(self) -> Iterator[SinkPosition | SetAside]:
        """Returns the ledger records of this sink."""
        for _, told in ledger.ledger_records(read(self.brokers, FILES_STATUS)):
            if isinstance(told, (SinkPosition, SetAside)) and (told.sink, told.topic) == (
                self.sink.name,
                self.topic.name,
            ):
                yield told

    def position(self) -> int:
        """Returns the position announced last."""
        return max((told.next_offset for told in self.told() if isinstance(told, SinkPosition)), default=0)

    def set_aside(self) -> list[SetAside]:
        return [told for told in self.told() if isinstance(told, SetAside)]


def read(brokers: Kafka, topic: Topic) -> list[Record]:
    """Returns all records of a topic up to its present end."""
    left, reader, found = admin.ends(brokers, topic), follow_all(brokers, topic), []
    while left:
        for record in reader.poll(1000, 0.2):
            found.append(record)
            if record.offset + 1 >= left.get(record.partition, 0):
                left.pop(record.partition, None)
    reader.close()
    return found


def eventually(true: Callable[[], Any]) -> None:
    until_s = monotonic() + 40
    while not true():
        assert monotonic() < until_s


@pytest.fixture
def loop(stack: Stack) -> Iterator[Running[Memory]]:
    running = Running(stack.kafka, Memory())
    running.start()
    yield running
    running.end()


def test_storing_moves_the_position_that_the_ledger_gets(loop: Running[Memory]) -> None:
    loop.send(batch("1"), batch("2"), batch("3"))
    eventually(lambda: loop.position() == 3)
    assert loop.sink.stored == ["1", "2", "3"]


@pytest.mark.parametrize("limit", [{"batch_rows": 1}, {"batch_bytes": 1}])
def test_a_write_stops_gathering_at_its_limits(stack: Stack, limit: dict[str, int]) -> None:
    running = Running(stack.kafka, Memory())
    running.send(*(batch(str(n)) for n in range(3 * MESSAGES_PER_POLL)))
    running.start(**limit)
    eventually(lambda: running.position() == 3 * MESSAGES_PER_POLL)
    running.end()
    assert running.sink.largest <= MESSAGES_PER_POLL
    assert len(running.sink.stored) == 3 * MESSAGES_PER_POLL


def test_only_a_poison_batch_is_set_aside_and_the_others_are_stored(loop: Running[Memory]) -> None:
    loop.send(batch("1"), batch("2"), batch("3", group="poison"), b"no batch", batch("4"))
    eventually(lambda: loop.position() == 5)
    assert sorted(set(loop.sink.stored)) == ["1", "2", "4"]
    letters = {record.value: record.headers for record in read(loop.brokers, loop.topic.dead_letters)}
    assert letters.keys() == {batch("3", group="poison"), b"no batch"}
    assert letters[batch("3", group="poison")] == {
        "reason": "it is poison",
        "origin": f"{loop.topic.name}/{PARTITION}/2",
        "sink": "memory",
    }
    (aside,) = loop.set_aside()
    assert (short(aside.file_id), aside.offset, aside.values, aside.reason) == ("3", 2, 1, "it is poison")


def test_polls_between_the_writes_of_a_split_batch_lose_nothing(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.sinks.loop.POLL_AFTER_S", 0.0)
    running = Running(stack.kafka, Memory())
    running.send(*(batch(str(n), "poison" if n % 7 == 3 else "G") for n in range(60)))
    running.start(batch_rows=20)
    eventually(lambda: running.position() == 60)
    running.end()
    assert sorted(map(int, running.sink.stored)) == [n for n in range(60) if n % 7 != 3]
    assert sorted(aside.offset for aside in running.set_aside()) == [n for n in range(60) if n % 7 == 3]


def test_only_the_values_of_refused_counters_are_set_aside(loop: Running[Memory]) -> None:
    loop.send(batch("1", counters=("a", "unknown")), batch("2", counters=("unknown",)), batch("3"))
    eventually(lambda: loop.position() == 3)
    assert loop.sink.stored == ["1", "3"]
    assert [(short(aside.file_id), aside.values) for aside in loop.set_aside()] == [("1", 1), ("2", 1)]
    letters = [CounterBatch.decode(record.value or b"") for record in read(loop.brokers, loop.topic.dead_letters)]
    assert [(short(b.file_id), b.counters, b.rows) for b in letters] == [
        ("1", ["unknown"], [["o", 0, 1]]),
        ("2", ["unknown"], [["o", 0, 0]]),
    ]


def test_the_position_waits_while_the_database_is_down_and_then_everything_is_stored(loop: Running[Memory]) -> None:
    loop.sink.away.set()
    loop.send(batch("1"), batch("2"))
    assert loop.sink.refused.wait(40)
    assert loop.position() == 0
    loop.sink.away.clear()
    eventually(lambda: loop.position() == 2)
    assert loop.sink.stored == ["1", "2"]


def test_a_bad_message_does_not_move_the_position_beyond_unstored_messages(loop: Running[Memory]) -> None:
    loop.sink.away.set()
    loop.send(batch("1"), b"no batch")
    assert loop.sink.refused.wait(40)
    loop.pause()
    loop.sink.away.clear()
    loop.start()
    eventually(lambda: loop.position() == 2)
    assert loop.sink.stored == ["1"]


def test_another_member_resumes_where_the_first_ended(loop: Running[Memory]) -> None:
    loop.send(batch("1"))
    eventually(lambda: loop.position() == 1)
    loop.pause()
    loop.send(batch("2"))
    loop.start()
    eventually(lambda: loop.position() == 2)
    assert loop.sink.stored == ["1", "2"]
