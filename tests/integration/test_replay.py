"""A replay restores missing values and changes no correct one; checksums cover every value."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from hashlib import blake2b

import clickhouse_connect
import pymysql
import pytest

from services.ch_bridge.settings import Clickhouse
from services.mysql_writer.settings import Mysql
from shared import topics
from shared.kafka import admin
from shared.kafka.produce import Outgoing, Producer
from shared.messages import CounterBatch, SetAside, SinkPosition, digest_of
from shared.settings import Settings, load
from shared.sinks.sink import Sink
from shared.topics import FILES_STATUS
from tests.integration.test_sink_loop import PARTITION, Running, eventually
from tools.cli.operate import ledger
from tools.cli.operate.replay import Replayed, offset_range, replay, sink_of, take_back
from tools.cli.operate.stored import StoredRow, in_clickhouse, in_mysql
from tools.devstack.stack import Stack

GROUPS = {"G": {"a", "b"}, "H": {"a", "b"}}
WHOLE = (None, None)


class Topic:
    """A system's topic: a correction before the file it corrects, a poison message and plain messages."""

    def __init__(self, stack: Stack, sink: str) -> None:
        self.brokers = stack.kafka
        self.topic = topics.counters_topic(f"r{uuid.uuid4().hex[:6]}")
        self.system = self.topic.name.removeprefix("pm.counters.")
        database = f"replay_{self.system}"
        self.mysql = Mysql(host=stack.mysql_host, port=stack.mysql_port, user="root", database=database)
        self.clickhouse = Clickhouse(url=f"{stack.clickhouse_url}/{database}")
        self.sink_name = sink
        admin.provision(self.brokers, [self.topic, self.topic.dead_letters, FILES_STATUS])

    def sink(self, settings: Settings) -> Sink:
        return sink_of(settings, self.sink_name)

    def batch(self, group: str, ver: int, element: str, rows: list[list[object]]) -> bytes:
        return CounterBatch(
            system=self.system, file_id=f"{ver:016x}", element=element, group=group, job="", gp_s=900,
            end_s=1_700_000_100, end_offset_min=0, ver=ver, counters=["a", "b"], rows=rows,
        ).encode()  # fmt: skip

    def send(self, partition: int, *values: bytes, topic: str = "") -> None:
        producer = Producer(self.brokers)
        producer.deliver(*(Outgoing(topic or self.topic.name, partition, "e", value) for value in values))
        producer.close()

    def rows(self, groups: Mapping[str, set[str]] = GROUPS) -> list[StoredRow]:
        """Returns a checksum of everything that a reader finds."""
        if self.sink_name == "mysql":
            return list(in_mysql(self.mysql))
        return sorted(in_clickhouse(self.clickhouse, self.system, groups), key=lambda row: row.key)

    def checksum(self) -> str:
        rows = self.rows()
        seen = sorted(repr((row.key, row.suspect, sorted(row.values.items()))) for row in rows)
        return blake2b("\n".join(seen).encode()).hexdigest() if seen else ""

    def lose_rows(self) -> None:
        """Damages the stored rows, as an operator's mistake would."""
        if self.sink_name == "clickhouse":
            base, _, database = self.clickhouse.url.rpartition("/")
            with clickhouse_connect.get_client(dsn=base, database=database, autogenerate_session_id=False) as client:
                client.command(f"TRUNCATE TABLE `{self.system}_G_rows`")
            return
        at = self.mysql
        with pymysql.connect(host=at.host, port=at.port, user="root", database=at.database) as line:
            line.cursor().execute(f"DELETE FROM {self.system}_g WHERE obj % 3 = 0")
            line.commit()


@pytest.fixture(params=["mysql", "clickhouse"])
def topic(request: pytest.FixtureRequest, stack: Stack) -> Topic:
    made = Topic(stack, request.param)
    rows = [[f"o{n}", n % 2, n, n / 8] for n in range(50)]
    made.send(1, made.batch("G", 2, "e1", [["o1", 0, None, 7]]), made.batch("G", 1, "e1", rows))
    made.send(2, made.batch("H", 1, "e2", rows), made.batch("H", 3, "e2", rows[:5]))
    return made


@pytest.fixture
def sink(topic: Topic) -> Iterator[Sink]:
    made = topic.sink(settings_of(topic))
    yield made
    close(made)


def settings_of(topic: Topic) -> Settings:
    return replace(load(()), own={"mysql": asdict(topic.mysql), "clickhouse": asdict(topic.clickhouse)})


def close(sink: Sink) -> None:
    (sink.repository if hasattr(sink, "repository") else sink.clickhouse).close()  # type: ignore[attr-defined]


def again(topic: Topic, sink: Sink, offset: int | None = None) -> Replayed:
    return replay(sink, topic.brokers, offset_range(topic.brokers, topic.topic, WHOLE, offset), lambda read: None)


def test_a_replay_from_any_offset_changes_no_correct_row(topic: Topic, sink: Sink) -> None:
    assert again(topic, sink) == Replayed(read=4, stored=4)
    before = topic.checksum()
    assert before
    assert again(topic, sink) == Replayed(read=4, stored=4)
    assert again(topic, sink, offset=1) == Replayed(read=2, stored=2)
    assert topic.checksum() == before


def test_a_replay_restores_missing_rows(topic: Topic, sink: Sink) -> None:
    again(topic, sink)
    before = topic.checksum()
    topic.lose_rows()
    assert topic.checksum() != before
    again(topic, sink)
    assert topic.checksum() == before


def test_messages_outside_the_time_range_are_not_read(topic: Topic, sink: Sink) -> None:
    told: list[int] = []
    for times, messages in (((None, 1), 0), ((2**42, None), 0), ((1, 2**42), 4)):
        part = offset_range(topic.brokers, topic.topic, times)
        assert part.messages == messages
        assert replay(sink, topic.brokers, part, told.append).read == messages
    assert told[-1] == 4


def test_batches_set_aside_are_replayed_from_the_dead_letters_and_other_messages_are_refused(
    topic: Topic, sink: Sink
) -> None:
    letters = topic.topic.dead_letters
    letter = topic.batch("G", 9, "e9", [["o9", 0, 9, 9]])
    topic.send(5, letter, b"no batch", topic=letters.name)
    aside = SetAside(
        sink=topic.sink_name, topic=topic.topic.name, partition=5, offset=0, file_id=f"{9:016x}", element="e9",
        values=2, reason="out of range", at_s=1.0, content=digest_of(letter),
    )  # fmt: skip
    producer = Producer(topic.brokers)
    producer.deliver(Outgoing(FILES_STATUS.name, 5, aside.key, aside.encode()))
    assert ledger.read_ledger(topic.brokers).set_aside[aside.key] == aside
    landed = partial(take_back, producer, topic.sink_name)
    done = replay(sink, topic.brokers, offset_range(topic.brokers, letters, WHOLE), lambda read: None, landed)
    producer.close()
    assert done == Replayed(read=2, stored=1, refused=1)
    assert aside.key not in ledger.read_ledger(topic.brokers).set_aside


def test_unknown_counters_are_set_aside_and_a_replay_stores_them_once_columns_may_be_added(
    topic: Topic, sink: Sink
) -> None:
    again(topic, sink)
    before = topic.checksum()
    settings = settings_of(topic)
    strict = topic.sink(replace(settings, schedule=replace(settings.schedule, is_auto_adding_column=False)))
    loop = Running(topic.brokers, strict, topic.topic)
    batch = CounterBatch.decode(topic.batch("G", 5, "e1", [["o1", 0, 1, 2], ["o2", 0, 3, None]]))
    loop.start()
    loop.send(replace(batch, counters=["a", "new"]).encode())
    whole = (PARTITION, 1)
    eventually(lambda: whole in [(t.partition, t.next_offset) for t in loop.told() if isinstance(t, SinkPosition)])
    assert [aside.values for aside in loop.set_aside()] == [1]
    loop.end()
    close(strict)
    without = topic.checksum()
    assert without != before  # the known counter is stored
    letters = offset_range(topic.brokers, topic.topic.dead_letters, WHOLE)
    for _ in range(2):
        assert replay(sink, topic.brokers, letters, lambda read: None) == Replayed(read=1, stored=1)
    rows = topic.rows({"G": {"a", "b", "new"}})
    assert {row.key[3]: row.values["new"] for row in rows if "new" in row.values} == {"o1": 2}
    again(topic, sink)
    assert topic.rows({"G": {"a", "b", "new"}}) == rows
