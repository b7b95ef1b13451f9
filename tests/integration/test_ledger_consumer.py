"""Every record reaches an application on the real broker, though members come and go and OffsetFetch answers late.

With `plain` instead of `fixed`, which is Faust as it comes, this test fails: it reports gaps in a topic without any,
and commits past the records in them (docs/decisions/0030-faust-hands-out-every-record.md).
"""

import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from shared.kafka import admin
from shared.kafka.produce import Outgoing, Producer
from shared.topics import FILES_STATUS, TRACKER_TABLES, Topic
from tests.fakes.faust_reader import PARTITIONS
from tools.devstack.stack import Stack

ROOT = Path(__file__).parents[2]
HOW = "fixed"
REBALANCES = 3
EVERY_S = 0.02


class Readers:
    """Readers of one topic as processes, and what they were handed out."""

    def __init__(self, broker: str, topic: Topic, home: Path) -> None:
        self.broker = broker
        self.topic = topic
        self.home = home
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        log = self.home / f"reader-{len(self.started)}"
        argv = [sys.executable, "-m", "tests.fakes.faust_reader", self.broker, self.topic.name, str(log), HOW]
        with log.with_suffix(".err").open("wb") as errors:
            self.started.append(subprocess.Popen(argv, cwd=ROOT, stdout=errors, stderr=errors))
        return self.started[-1]

    def lines(self, kind: str) -> list[tuple[int, ...]]:
        texts = (path.read_text() for path in self.home.glob("reader-?"))
        found = (line.split() for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n"))
        return [tuple(map(int, numbers)) for name, *numbers in found if name == kind]

    def until_taking_part(self) -> None:
        """Waits until the newest reader was handed out a record."""
        newest = self.home / f"reader-{len(self.started) - 1}"
        until(lambda: newest.exists() and newest.read_text().startswith("R "), "nothing handed out")

    def until_read(self, records: set[tuple[int, ...]]) -> None:
        """Waits until all of these records were handed out."""
        until(lambda: records <= set(self.lines("R")), "records not handed out")

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


def until(true: Callable[[], bool], otherwise: str) -> None:
    until_s = monotonic() + 90
    while not true():
        assert monotonic() < until_s, otherwise
        Event().wait(0.2)


@contextmanager
def steady_load(producer: Producer, topic: Topic) -> Iterator[list[int]]:
    """Sends records to all partitions in turn; yields the number of records of each partition so far."""
    sent, stop = [0] * PARTITIONS, Event()

    def send() -> None:
        while not stop.wait(EVERY_S):
            producer.deliver(*(Outgoing(topic.name, n, "key", b"value") for n in range(PARTITIONS)))
            sent[:] = [many + 1 for many in sent]

    thread = Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def all_of(sent: list[int]) -> set[tuple[int, ...]]:
    return {(partition, offset) for partition, many in enumerate(sent) for offset in range(many)}


def test_every_record_is_handed_out_though_members_come_and_go(stack: Stack, tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex[:8]}"
    topic = replace(FILES_STATUS, name=name, partitions=PARTITIONS, compacted=False)
    changelogs = [replace(table, name=f"{name}-{table.name.split('-')[-2]}-changelog") for table in TRACKER_TABLES]
    admin.provision(stack.kafka, [topic, *changelogs])
    producer = Producer(stack.kafka)
    readers = Readers(stack.kafka.bootstrap_servers, topic, tmp_path)
    try:
        with steady_load(producer, topic) as sent:
            readers.start()
            readers.until_taking_part()
            for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)[:REBALANCES]:
                second = readers.start()
                readers.until_taking_part()
                second.send_signal(how)
                second.wait(30)
                readers.until_read(all_of(sent))
        readers.until_read(all_of(sent))
    finally:
        readers.close()
        producer.close()
    assert readers.lines("GAP") == []
