"""Systems share the sinks on real servers: neither a backlog nor a locked table of one of them holds up another."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.settings import Clickhouse
from services.ch_bridge.sink import ClickhouseBridge
from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql
from services.mysql_writer.sink import MysqlWriterWorker
from shared import topics
from shared.health import Heartbeat
from shared.kafka import admin
from shared.kafka.consume import Consumer
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import TopicPartition
from shared.messages import CounterBatch
from shared.sinks import metrics
from shared.sinks.limits import SinkLimits
from shared.sinks.loop import SinkWorker
from shared.sinks.sink import Sink
from shared.topics import FILES_STATUS, Topic
from tests.integration.mysqls import administrator
from tests.integration.test_sink_loop import PARTITION, eventually
from tools.cli.operate.stored import in_clickhouse, in_mysql
from tools.devstack.stack import Stack

WRITE_ROWS = 100


class Recorded:
    """A sink that counts what each of its writes stored."""

    def __init__(self, sink: Sink) -> None:
        self.sink, self.name = sink, sink.name
        self.writes: list[Counter[str]] = []
        self.positions: dict[TopicPartition, int] = {}

    def resume(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return self.sink.resume(partitions)

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> None:
        self.sink.write(batches, positions)
        self.positions |= positions
        if batches:
            self.writes.append(Counter(batch.system for batch in batches))

    def renew(self) -> None:
        self.sink.renew()


class Systems:
    """Two systems with a topic each."""

    def __init__(self, stack: Stack) -> None:
        self.kafka = stack.kafka
        self.names = [f"{name}{uuid.uuid4().hex[:6]}" for name in ("x", "y")]
        self.topics = [topics.counters_topic(name) for name in self.names]
        every = [one for topic in self.topics for one in (topic, topic.dead_letters)]
        admin.provision(self.kafka, [*every, FILES_STATUS])
        self.producer = Producer(self.kafka)
        self.sent = Counter[str]()

    def send(self, **counts: int) -> None:
        """Sends so many messages of the systems `x` and `y`, one row each."""
        outgoing = []
        for name, topic in zip(self.names, self.topics, strict=True):
            first = self.sent[name]
            self.sent[name] += counts.get(name[0], 0)
            outgoing += [message(name, topic, n) for n in range(first, self.sent[name])]
        self.producer.deliver(*outgoing)

    def ends(self) -> dict[TopicPartition, int]:
        return {
            TopicPartition(topic.name, PARTITION): self.sent[name]
            for name, topic in zip(self.names, self.topics, strict=True)
        }

    @contextmanager
    def stored_by(self, sink: Recorded) -> Iterator[None]:
        """Runs a loop that stores both systems."""
        stop, names = Event(), [topic.name for topic in self.topics]
        limits = SinkLimits(batch_rows=WRITE_ROWS, batch_wait_s=0.2, announce_s=0.1, longest_backoff_s=0.3)
        consumer = Consumer(self.kafka, f"{sink.name}-of-{self.names[0]}")
        worker = SinkWorker(sink, consumer, self.producer, limits, Heartbeat(""))
        thread = Thread(target=worker.run, args=(lambda: names, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def message(system: str, topic: Topic, number: int) -> Outgoing:
    batch = CounterBatch(
        system=system, file_id=f"{number:016}", element="e", group="G", job="", gp_s=900, end_s=1_700_000_100,
        end_offset_min=0, ver=1, counters=["a"], rows=[[f"o{number}", 0, number]],
    )  # fmt: skip
    return Outgoing(topic.name, PARTITION, "e", batch.encode())


@pytest.fixture
def systems(stack: Stack) -> Iterator[Systems]:
    made = Systems(stack)
    yield made
    made.producer.close()


@pytest.fixture(scope="module")
def mysql(stack: Stack) -> Mysql:
    return Mysql(host=stack.mysql_host, port=stack.mysql_port, user="root", database=f"fair_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def writer(mysql: Mysql) -> Iterator[Recorded]:
    repository = Repository(mysql)
    yield Recorded(MysqlWriterWorker(repository))
    repository.close()


@pytest.fixture
def bridge(stack: Stack, mysql: Mysql) -> Iterator[Recorded]:
    repository = ClickhouseRepository(Clickhouse(url=f"{stack.clickhouse_url}/{mysql.database}"))
    yield Recorded(ClickhouseBridge(repository))
    repository.close()


def values_in_mysql(mysql: Mysql, system: str) -> list[object]:
    return sorted(row.values["a"] for row in in_mysql(mysql) if row.key[0] == system)


def values_in_clickhouse(clickhouse: Clickhouse, system: str) -> list[object]:
    return sorted(row.values["a"] for row in in_clickhouse(clickhouse, system, {"G": {"a"}}))


@pytest.mark.parametrize("kind", ["writer", "bridge"])
def test_a_small_system_is_stored_within_the_first_writes_though_another_has_thousands_of_messages(
    systems: Systems, request: pytest.FixtureRequest, mysql: Mysql, stack: Stack, kind: str
) -> None:
    """The small one has 60 messages and a share of 50 in each write; the flood needs 50 writes of its own."""
    sink: Recorded = request.getfixturevalue(kind)
    large, small = systems.names
    systems.send(x=5_000)
    systems.send(y=60)
    with systems.stored_by(sink):
        eventually(lambda: sink.positions == systems.ends())
    assert sum(write[small] for write in sink.writes[:10]) == 60
    assert sum(write[large] for write in sink.writes[:10]) <= 10 * WRITE_ROWS
    assert sum(write[large] for write in sink.writes) == 5_000
    found: Callable[[str], list[object]] = (
        (lambda system: values_in_mysql(mysql, system))
        if kind == "writer"
        else lambda system: values_in_clickhouse(Clickhouse(url=f"{stack.clickhouse_url}/{mysql.database}"), system)
    )
    assert found(small) == list(range(60))
    assert found(large) == list(range(5_000))


@pytest.mark.parametrize(
    "lock", ["LOCK TABLES {} WRITE", "SELECT * FROM {} FOR UPDATE"], ids=["metadata lock", "row locks"]
)
def test_a_system_whose_table_is_locked_waits_alone_and_is_stored_once_when_the_lock_is_released(
    systems: Systems, writer: Recorded, mysql: Mysql, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setattr("services.mysql_writer.connection.LOCK_WAIT_S", 2)
    locked, free = systems.names
    waits = metrics.TOPIC_WAITS.labels("mysql", systems.topics[0].name)
    systems.send(x=1, y=1)
    with systems.stored_by(writer):
        eventually(lambda: writer.positions == systems.ends())
        with administrator(mysql) as execute:
            execute("BEGIN")
            execute(lock.format(f"`{locked}_g`"))
            systems.send(x=150, y=10)
            eventually(lambda: waits._value.get() > 0)
            systems.send(y=300)
            eventually(lambda: writer.positions[TopicPartition(systems.topics[1].name, PARTITION)] == 311)
            assert writer.positions[TopicPartition(systems.topics[0].name, PARTITION)] == 1
            execute("ROLLBACK")
            execute("UNLOCK TABLES")
        eventually(lambda: writer.positions == systems.ends())
    assert sum(write[locked] for write in writer.writes) == 151
    assert sum(write[free] for write in writer.writes) == 311
    assert values_in_mysql(mysql, locked) == list(range(151))
    assert values_in_mysql(mysql, free) == list(range(311))
