"""A file's content, then its status, then done: each comes when the one before is durable, and nobody waits."""

import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import current_thread, main_thread
from typing import Any

import orjson
import pytest

from services.fetcher.assemble.result import Quarantined
from services.fetcher.publish import KafkaProducerWorker, PublishedBatches
from shared.errors import Hopeless, Unreachable
from shared.kafka.produce import Deliveries, Outgoing
from shared.messages import FileFound, status_of
from tests.fakes.elements import local
from tests.fakes.fetching import PM, Fetching

WAIT_S = 30.0
FILE = FileFound(
    file_id="0123456789abcdef", system="5ga", endpoint="e1", element="e1", path="/pm/A.xml", size=1, mtime_s=1, epoch=1
)
BLOCK = Quarantined("bad period", "group", 1, b"<measValue/>")


class Refused:
    """A delivery that failed, as the client library reports it."""

    def __init__(self, *, is_fatal: bool = False) -> None:
        self.is_fatal = is_fatal

    def str(self) -> str:
        return "the broker is away"

    def code(self) -> int:
        return -192

    def fatal(self) -> bool:
        return self.is_fatal


@dataclass(frozen=True)
class Durable:
    """The record as the broker stored it."""

    at: int

    def offset(self) -> int:
        return self.at


class Broker:
    """Takes what is sent; a test tells when, and whether, each record is durable."""

    def __init__(self) -> None:
        self.sent: SimpleQueue[tuple[Outgoing, Deliveries]] = SimpleQueue()
        self.by: list[str] = []
        self.offset = 100

    def send(self, message: Outgoing, deliveries: Deliveries) -> None:
        self.by.append(current_thread().name)
        deliveries.expect()
        self.sent.put((message, deliveries))

    def next(self) -> "Sent":
        return Sent(self, *self.sent.get(timeout=WAIT_S))


@dataclass(frozen=True)
class Sent:
    """One record on its way."""

    broker: Broker
    message: Outgoing
    deliveries: Deliveries = field(repr=False)

    def store(self) -> None:
        self.broker.offset += 1
        self.deliveries.report(None, Durable(self.broker.offset))  # type: ignore[arg-type]

    def refuse(self) -> None:
        self.deliveries.report(Refused(), None)  # type: ignore[arg-type]


def test_what_follows_a_file_comes_when_its_last_batch_and_its_quarantined_blocks_are_durable() -> None:
    broker, outcomes = Broker(), SimpleQueue[object]()
    out = KafkaProducerWorker([broker])  # type: ignore[list-item]
    out.content(FILE, [BLOCK], [b"1", b"2"], outcomes.put)
    letter, first, second = broker.next(), broker.next(), broker.next()
    assert [one.message.topic for one in (letter, first, second)] == [
        "pm.counters.5ga.dlq", "pm.counters.5ga", "pm.counters.5ga",
    ]  # fmt: skip
    first.store()
    second.store()
    assert not out.flush(0.05)
    assert outcomes.empty()
    letter.store()
    assert outcomes.get(timeout=WAIT_S) == PublishedBatches("pm.counters.5ga", first.message.partition, 101, 102)
    assert out.flush(WAIT_S)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_one_record_that_is_not_delivered_spoils_the_whole_file(lost: int) -> None:
    broker, outcomes = Broker(), SimpleQueue[object]()
    out = KafkaProducerWorker([broker])  # type: ignore[list-item]
    out.content(FILE, [BLOCK], [b"1", b"2"], outcomes.put)
    for number in range(3):
        sent = broker.next()
        if number == lost:
            sent.refuse()
        else:
            sent.store()
    outcome = outcomes.get(timeout=WAIT_S)
    assert isinstance(outcome, Unreachable)
    assert "Kafka did not take a record: the broker is away" in str(outcome)


def test_a_status_that_kafka_does_not_take_is_sent_again_until_it_does_and_then_its_file_is_done_once() -> None:
    broker, done = Broker(), SimpleQueue[str]()
    out = KafkaProducerWorker([broker], retry_s=0.001)  # type: ignore[list-item]
    status = status_of(FILE, "parsed", 1.0)
    out.answer(status, lambda: done.put("done"))
    for _ in range(3):
        sent = broker.next()
        assert sent.message.value == status.encode()
        sent.refuse()
    assert not out.flush(0.0)
    broker.next().store()
    assert done.get(timeout=WAIT_S) == "done"
    assert out.flush(WAIT_S)
    assert (done.empty(), broker.sent.empty()) == (True, True)


def test_a_status_that_is_sent_again_does_not_keep_others_waiting() -> None:
    broker, done = Broker(), SimpleQueue[str]()
    out = KafkaProducerWorker([broker], retry_s=600)  # type: ignore[list-item]
    out.answer(status_of(FILE, "parsed", 1.0), lambda: done.put("first"))
    broker.next().refuse()
    out.answer(status_of(FILE, "lost", 1.0), lambda: done.put("second"))
    broker.next().store()
    assert done.get(timeout=WAIT_S) == "second"
    assert not out.flush(0.0)


def test_what_follows_is_never_sent_by_the_thread_that_serves_delivery_reports() -> None:
    """A producer with a full queue serves its reports itself while it waits: it must not do so inside of one."""
    broker, done = Broker(), SimpleQueue[str]()
    out = KafkaProducerWorker([broker])  # type: ignore[list-item]

    def then(_: PublishedBatches | Hopeless | Unreachable) -> None:
        out.answer(status_of(FILE, "parsed", 1.0), lambda: done.put(current_thread().name))

    out.content(FILE, [], [b"1"], then)
    broker.next().store()
    broker.next().store()
    assert done.get(timeout=WAIT_S) == "next-steps"
    assert broker.by == [main_thread().name, "next-steps"]


def test_a_worker_goes_on_to_its_next_files_while_those_before_are_not_durable_yet(tmp_path: Path) -> None:
    broker, many = Broker(), 40
    (tmp_path / "pm").mkdir()
    with local(tmp_path, tmp_path) as element:
        fetching = Fetching(element, out=KafkaProducerWorker([broker]))  # type: ignore[list-item]
        files = [fetching.file(f"A{number}.xml", PM) for number in range(many)]
        for file in files:
            fetching.fetch(file)
        assert fetching.done == []
        stages = told(broker, many * (1 + len(batches_of(element, PM)) + 1))
        assert fetching.worker.publisher.flush(WAIT_S)  # type: ignore[attr-defined]
    assert set(map(tuple, stages.values())) == {("fetching", "parsed")}
    assert [file.path for file in fetching.done] == [file.path for file in files]


def test_the_content_of_a_file_is_not_kept_until_kafka_has_its_values(tmp_path: Path) -> None:
    broker = Broker()
    (tmp_path / "pm").mkdir()
    with local(tmp_path, tmp_path) as element:
        fetching = Fetching(element, out=KafkaProducerWorker([broker]))  # type: ignore[list-item]
        files = [fetching.file("A.xml", PM + b" " * (8 << 20)), fetching.file("B.xml", b"no file" + b" " * (8 << 20))]
        tracemalloc.start()
        for file in files:
            fetching.fetch(file)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert fetching.done == []
    assert held < 4 << 20


def batches_of(element: Any, content: bytes) -> list[bytes]:
    fetching = Fetching(element)
    fetching.fetch(fetching.file("B.xml", content))
    return fetching.batches


def told(broker: Broker, records: int) -> dict[str, list[str]]:
    """Makes so many records durable. Returns the stages of each file in their order."""
    stages: dict[str, list[str]] = {}
    for _ in range(records):
        sent = broker.next()
        if sent.message.topic == "pm.files.status":
            stages.setdefault(sent.message.key, []).append(orjson.loads(sent.message.value or b"")["stage"])
        sent.store()
    return stages
