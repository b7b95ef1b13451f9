"""The sink loop with MySQL slow, silent or down: nothing is lost, and no consumer leaves the group."""

import logging
import socket
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from time import monotonic

import pytest

from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql
from services.mysql_writer.sink import MysqlWriterWorker
from shared.kafka.consume import SESSION_TIMEOUT_MS
from shared.messages import CounterBatch
from shared.sinks import metrics
from tests.integration.test_remote_faults import Proxy
from tests.integration.test_sink_loop import Running, eventually
from tools.cli.operate.stored import in_mysql
from tools.devstack.stack import Stack

ROWS, COUNTERS = 200, 100
FOR_EVER = 1 << 60


class Line(Proxy):
    """A proxy to a server that can slow down what is sent to it to 400 kB per second."""

    drips = Event()
    never = Event()

    def _pass_on(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        if counts:
            super()._pass_on(source, target, counts)
            return
        with suppress(OSError):
            while data := source.recv(2048):
                if self.drips.is_set():
                    self.never.wait(0.005)
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


@dataclass
class Writing:
    """A writer that reaches its database through the proxy."""

    line: Line
    mysql: Mysql
    running: Running[MysqlWriterWorker]
    sent: int = 0

    def send(self) -> None:
        batches = [self._batch(f"e{self.sent + n}") for n in range(3)]
        self.sent += len(batches)
        self.running.send(*(batch.encode() for batch in batches))

    def _batch(self, element: str) -> CounterBatch:
        return CounterBatch(
            system="4ga", file_id="0" * 16, element=element, group="G", job="", gp_s=900, end_s=1_700_000_100,
            end_offset_min=0, ver=1, counters=[f"c{n}" for n in range(COUNTERS)],
            rows=[[f"o{o}", 0, *range(10_000, 10_000 + COUNTERS)] for o in range(ROWS)],
        )  # fmt: skip

    def all_landed(self) -> None:
        eventually(lambda: self.running.position() == self.sent)
        assert sum(len(row.values) for row in in_mysql(self.mysql)) == self.sent * ROWS * COUNTERS


def retries() -> float:
    return float(metrics.WRITE_RETRIES.labels("mysql")._value.get())


@pytest.fixture
def writing(stack: Stack) -> Iterator[Writing]:
    line = Line(stack.mysql_port)
    mysql = Mysql(host="127.0.0.1", port=stack.mysql_port, user="root", database=f"out_{uuid.uuid4().hex[:8]}")
    behind = Mysql(host="127.0.0.1", port=line.port, user="root", database=mysql.database)
    repository = Repository(behind, timeout_s=3)
    running = Running(stack.kafka, MysqlWriterWorker(repository))
    running.start()
    made = Writing(line, mysql, running)
    made.send()
    made.all_landed()
    yield made
    line.drips.clear()
    running.end()
    repository.close()
    line.close()


def test_a_slow_database_stores_everything_in_time(writing: Writing) -> None:
    before = retries()
    writing.line.drips.set()
    writing.send()
    writing.all_landed()
    assert retries() == before


def test_a_silent_database_times_out_and_is_tried_again(writing: Writing) -> None:
    before = retries()
    writing.line.after(0, cut=False)
    writing.send()
    eventually(lambda: retries() > before)
    writing.line.after(FOR_EVER, cut=False)
    writing.all_landed()


def test_the_writer_stays_in_its_group_while_the_database_is_down(
    writing: Writing, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "shared.sinks.loop"):
        began_s, before = monotonic(), retries()
        writing.line.after(0, cut=True)
        for line in list(writing.line.open):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        writing.send()
        eventually(lambda: retries() > before and monotonic() - began_s > SESSION_TIMEOUT_MS / 1000 + 3)
        assert writing.running.position() == writing.sent - 3
        writing.line.after(FOR_EVER, cut=False)
        writing.all_landed()
    assert retries() > before + 10
    assert "reading partitions" not in [record.message for record in caplog.records]  # as at each assignment
