"""Failover to a replica that lacks the last commits, while two writers work: no row is lost, none is mixed up."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql
from services.mysql_writer.sink import MysqlWriterWorker
from shared.kafka.produce import Outgoing
from shared.kafka.record import TopicPartition
from shared.messages import CounterBatch, SinkPosition
from shared.sinks.positions import PositionsMoved
from tests.integration.mysqls import administrator, serving
from tests.integration.test_remote_faults import Proxy
from tests.integration.test_sink_loop import Running, eventually
from tools.cli.operate.stored import in_mysql
from tools.devstack import downloads
from tools.devstack.stack import Stack

PARTITIONS = 4
OBJECTS = 5


class Switch(Proxy):
    """A proxy that can lead to another server, as a virtual address does after a failover."""

    def lead_to(self, port: int) -> None:
        self.to = port
        for line in list(self.open):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


@dataclass
class Load:
    """Sends batches of ever new elements, and knows every value that must be stored."""

    running: Running[MysqlWriterWorker]
    sent: int = 0
    truth: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """Element and object -> values."""

    def send(self, elements: int) -> None:
        for number in range(self.sent, self.sent + elements):
            rows = [[f"o{o}", 0, number, number * OBJECTS + o] for o in range(OBJECTS)]
            batch = CounterBatch(
                system="4ga", file_id=f"{number:016x}", element=f"e{number}", group="G", job="", gp_s=900,
                end_s=1_700_000_100, end_offset_min=0, ver=1, counters=["a", "b"], rows=rows,
            )  # fmt: skip
            topic, partition = self.running.topic.name, number % PARTITIONS
            self.running.producer.deliver(Outgoing(topic, partition, "e", batch.encode()))
            for ldn, _, *values in rows:
                self.truth[batch.element, str(ldn)] = dict(zip(("a", "b"), values, strict=True))
        self.sent += elements

    def all_read(self) -> bool:
        return sum(announced(self.running).values()) == self.sent


def announced(running: Running[MysqlWriterWorker]) -> dict[int, int]:
    """Returns the newest announced position of each partition."""
    return {told.partition: told.next_offset for told in running.told() if isinstance(told, SinkPosition)}


def stored(mysql: Mysql) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row.key[2], row.key[3]): dict(row.values) for row in in_mysql(mysql)}


def test_rows_whose_commits_a_failover_lost_are_written_again_and_nothing_is_mixed_up(
    stack: Stack, tmp_path: Path
) -> None:
    primary_home, replica_home = tmp_path / "primary", tmp_path / "replica"
    shutil.copytree(downloads.mysql_template(), primary_home / "data")
    with ExitStack() as until_the_end:
        line = Switch(0)
        until_the_end.callback(line.close)
        writers = [Repository(Mysql(host="127.0.0.1", port=line.port, user="root")) for _ in range(2)]
        one = Running(stack.kafka, MysqlWriterWorker(writers[0]))
        another = Running(stack.kafka, MysqlWriterWorker(writers[1]), one.topic)
        for cleanup in (*(writer.close for writer in writers), one.end, another.end):
            until_the_end.callback(cleanup)
        load = Load(one)
        with serving(primary_home) as primary, running(one, another):
            line.lead_to(primary.port)
            load.send(20)
            eventually(load.all_read)
        shutil.copytree(primary_home / "data", replica_home / "data")
        primary, replica = (until_the_end.enter_context(serving(home)) for home in (primary_home, replica_home))
        line.lead_to(primary.port)
        with running(one, another):
            load.send(40)  # the replica never gets these
            eventually(load.all_read)
            assert stored(primary) == load.truth
            sender = Thread(target=load.send, args=(400,))
            sender.start()
            eventually(lambda: len(stored(primary)) > 100 * OBJECTS)
            line.lead_to(replica.port)
            sender.join()
            eventually(lambda: len(stored(replica)) >= len(load.truth) and load.all_read())
            assert stored(replica) == load.truth


@contextmanager
def running(*loops: Running[MysqlWriterWorker]) -> Iterator[None]:
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.pause()


@pytest.fixture
def restored(stack: Stack) -> Mysql:
    mysql = Mysql(host=stack.mysql_host, port=stack.mysql_port, user="root", database="restored")
    with administrator(replace(mysql, database="mysql")) as execute:
        execute("DROP DATABASE IF EXISTS restored")
    return mysql


def batch(element: str) -> CounterBatch:
    return CounterBatch(
        system="4ga", file_id="0" * 16, element=element, group="G", job="", gp_s=900, end_s=1_700_000_100,
        end_offset_min=0, ver=1, counters=["a"], rows=[["o", 0, int(element[1:])]],
    )  # fmt: skip


def test_a_position_that_went_back_under_an_open_connection_stops_the_write(restored: Mysql) -> None:
    repository, at = Repository(restored), TopicPartition("t", 0)
    sink = MysqlWriterWorker(repository)
    sink.resume([at])
    sink.write([batch("e1")], {at: 1})
    sink.write([batch("e2")], {at: 2})
    with administrator(restored) as execute:  # a backup from before the second write is restored
        execute("DELETE FROM 4ga_g WHERE obj = 2")
        execute("DELETE FROM pm_object WHERE id = 2")
        execute("INSERT INTO pm_object (id, digest, `system`, element, ldn) VALUES (2, 'x', '4ga', 'e9', 'o')")
        execute("UPDATE pm_position SET next_offset = 1")
        execute("COMMIT")
    with pytest.raises(PositionsMoved, match=r"t/0: 2 -> 1"):
        sink.write([batch("e2")], {at: 3})
    assert sink.resume([at]) == {at: 1}
    sink.write([batch("e2")], {at: 2})
    assert stored(restored) == {("e1", "o"): {"a": 1}, ("e2", "o"): {"a": 2}}
    repository.close()


def test_a_writer_that_lost_its_answer_to_a_commit_continues_where_the_commit_led(restored: Mysql) -> None:
    repository, at = Repository(restored), TopicPartition("t", 0)
    sink = MysqlWriterWorker(repository)
    sink.resume([at])
    sink.write([batch("e1")], {at: 1})
    with administrator(restored) as execute:
        execute("UPDATE pm_position SET next_offset = 2")
        execute("COMMIT")
    with pytest.raises(PositionsMoved, match=r"t/0: 1 -> 2"):
        sink.write([batch("e2")], {at: 2})
    assert sink.resume([at]) == {at: 2}
    repository.close()
