"""The fetcher's way of a file over real SFTP and Kafka: in groups, each with its own end, offsets behind them."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from time import time

import pytest

from services.fetcher.history import LedgerLookup
from services.fetcher.intake.dispatch import Dispatch
from services.fetcher.intake.jobs import FetchJobs
from services.fetcher.intake.pools import Pools
from services.fetcher.intake.topic_intake import TopicIntake
from services.fetcher.intake.waiting_files import FilesTogether, WaitingFiles
from services.fetcher.parse.blocks import shipped
from services.fetcher.parse_pool.child import ParserMemory
from services.fetcher.parse_pool.pool import ParserPool, ParserPoolLimits
from services.fetcher.publish import KafkaProducerWorker
from services.scanner.ledger import LedgerFollower
from shared.configuration.kafka import Kafka
from shared.defects import DefectBudget
from shared.health import Heartbeat
from shared.inventory import Endpoint
from shared.kafka import admin
from shared.kafka.co_partitioned import CoPartitionedConsumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Outgoing, Producer, about_element
from shared.messages import partition_of, status_of
from shared.remote.session import Denied, Gone, Session
from shared.remote.sftp import SftpSession, connect_sftp
from shared.settings import Remote
from shared.topics import FILES_FOUND, FILES_STATUS
from tests.fakes.elements import Element, sftp
from tests.fakes.fetching import PM, Fetching
from tools.cli.operate import ledger
from tools.devstack.stack import Stack


@pytest.fixture
def element(tmp_path: Path) -> Iterator[Element]:
    root, keys = tmp_path / "root", tmp_path / "keys"
    (root / "pm").mkdir(parents=True)
    keys.mkdir()
    with sftp(root, keys) as served:
        yield served


def names(prefix: str, many: int) -> list[str]:
    return [f"{prefix}{number}.xml" for number in range(many)]


def test_a_group_arrives_over_one_session_and_what_is_refused_in_its_midst_spoils_none(element: Element) -> None:
    fetching = Fetching(element)
    (element.pm / "denied.xml").mkdir()
    files = [fetching.file(name) for name in names("A", 20)]
    files[10:10] = [fetching.vanished("gone.xml"), fetching.vanished("denied.xml")]
    readable = [file for file in files if "/A" in file.path]
    assert set(fetching.fetch(*readable)) == set(names("A", 20))
    assert fetching.sessions() == 1

    again = Fetching(element)
    found = again.fetch(*files)
    assert found == {name: ["parsed"] for name in names("A", 20)} | {"gone.xml": ["lost"], "denied.xml": ["postponed"]}
    assert "denied.xml" in again.reason(files[11])
    assert again.sessions() == 2  # the second: whether the missing file was settled before
    assert len(again.done) == len(files)
    fetching.manager.close()
    again.manager.close()


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_line_cut_in_the_midst_of_a_group_leaves_over_only_what_was_not_read(element: Element, attempts: int) -> None:
    lines: list[Session] = []

    def connected(endpoint: Endpoint, settings: Remote) -> Session:
        line = connect_sftp(endpoint, settings)
        lines.append(line)
        return line if len(lines) > 1 else CutAfterTheThird(line.transport, settings.timeout_s)

    class CutAfterTheThird(SftpSession):
        def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
            for number, file in enumerate(super().read_all(files), 1):
                yield file
                if number == 3:
                    element.cut()
                    self.transport.join(10)

    fetching = Fetching(element, connect=connected, attempts=attempts)
    large = PM.rstrip() + b"\n" * (2 << 20)
    files = [fetching.file(name, large) for name in names("A", 20)]
    found = fetching.fetch(*files)
    parsed = [name for name, stages in found.items() if stages == ["parsed"]]
    postponed = [name for name, stages in found.items() if stages == ["postponed"]]
    assert len(parsed) + len(postponed) == 20 == len(fetching.done)
    assert len(lines) == attempts
    if attempts == 1:
        assert 3 <= len(parsed) < 20
    else:
        assert postponed == []
    fetching.manager.close()


@contextmanager
def dispatching(stack: Stack, topic: str, group: str, work: Fetching) -> Iterator[None]:
    """A fetcher's reading side with two threads, until the end of the context."""
    producer, stop = Producer(stack.kafka), Event()
    letters, waiting = DeadLetters(producer), WaitingFiles(FilesTogether(16, 16 << 20), lambda _: 2)
    jobs = FetchJobs(work.worker, lambda system: system == "5ga", waiting, work.answer, letters)
    intake = TopicIntake(
        topic=topic,
        letters=letters,
        pools=Pools(lambda: {"5ga": 2}),
        ticket_of=jobs.ticket,
        job_of=jobs,
        in_flight_of=lambda _: 16,
    )
    dispatch = Dispatch(
        consumer=CoPartitionedConsumer(stack.kafka, group),
        intakes=[intake],
        flush=lambda _: True,
        heartbeat=Heartbeat(""),
    )
    thread = Thread(target=dispatch.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        producer.close()


def test_a_file_that_kills_its_parser_fails_once_and_the_offsets_move_beyond_it(
    stack: Stack, element: Element, tmp_path: Path
) -> None:
    topic = replace(FILES_FOUND, name=f"found-{uuid.uuid4().hex[:8]}", partitions=1)
    admin.provision(stack.kafka, [topic])
    parsers = ParserPool(ParserPoolLimits(processes=2, memory=ParserMemory(memory_mb=160)), shipped())
    fetching = Fetching(element, parsers, spool_directory=str(tmp_path))
    files = [fetching.file(name) for name in names("A", 12)]
    files.insert(6, fetching.file("poison.xml", wide(counters=1_000_000)))
    producer = Producer(stack.kafka)
    producer.deliver(*(Outgoing(topic.name, 0, "e1", file.encode()) for file in files))
    producer.close()
    with dispatching(stack, topic.name, topic.name, fetching):
        for _ in files:
            fetching.ended.get(timeout=60)
    assert fetching.stages(*files) == {name: ["parsed"] for name in names("A", 12)} | {"poison.xml": ["failed"]}
    assert any(word in fetching.reason(files[6]) for word in ("memory", "the parser process died"))
    assert fetching.sessions() < len(files)
    assert admin.committed(stack.kafka, topic.name, topic) == {0: len(files)}
    parsers.close()
    fetching.manager.close()


def wide(counters: int) -> bytes:
    """More counters in one row, all of them with names of their own, than a small parser can hold."""
    head = b'<OMeS><PMSetup startTime="2020-05-18T16:00:00Z" interval="15"><PMMOResult><MO><DN>A-1</DN></MO><T>'
    values = b"".join(b"<C%d>%d</C%d>" % (at, at, at) for at in range(counters))
    return head + values + b"</T></PMMOResult></PMSetup></OMeS>"


def test_when_kafka_refuses_a_file_nothing_of_it_counts_as_done(stack: Stack, element: Element) -> None:
    nobody = Producer(Kafka(bootstrap_servers="127.0.0.1:1"), delivery_timeout_ms=500)
    out = KafkaProducerWorker([nobody], retry_s=600)
    fetching = Fetching(element, out=out)
    fetching.fetch(fetching.file("A.xml"))
    assert not out.flush(3)
    assert [fetching.done, list(out.steps.later) != []] == [[], True]
    nobody.close()

    admin.provision(stack.kafka, [FILES_STATUS])
    producer = Producer(stack.kafka, delivery_timeout_ms=2000)
    out = KafkaProducerWorker([producer])
    fetching = Fetching(element, out=out)
    file = replace(fetching.file("A.xml"), system=f"no-topic-{uuid.uuid4().hex[:8]}", file_id=uuid.uuid4().hex[:16])
    fetching.fetch(file)
    assert out.flush(60)
    status = ledger.read_ledger(stack.kafka).files[file.file_id]
    assert (status.stage, status.values, fetching.done) == ("postponed", 0, [file])
    assert "Kafka did not take" in status.reason
    producer.close()
    fetching.manager.close()


def test_the_ledger_tells_what_became_of_a_file_from_its_first_announcement_on(stack: Stack, element: Element) -> None:
    admin.provision(stack.kafka, [FILES_STATUS])
    producer = Producer(stack.kafka)
    published, lookup = KafkaProducerWorker([producer]), LedgerLookup(stack.kafka)
    fetching = Fetching(element)
    names_of = [replace(fetching.file(name), element=f"e-{name}", found_s=time()) for name in names("L", 3)]
    done, under_way, new = (replace(file, file_id=uuid.uuid4().hex[:16]) for file in names_of)
    for stage in ("found", "fetching", "parsed", "done", "fetching"):
        status = replace(status_of(done, stage, time()), values=7 * (stage in {"parsed", "done"}))
        published.answer(status, lambda: None)
    published.answer(status_of(under_way, "found", time()), lambda: None)
    assert published.flush(30)
    found = lookup([done, under_way, new])
    assert found.keys() == {done.file_id, under_way.file_id}
    answer = found[done.file_id].answer_to(done, is_missing=False, now_s=time())
    assert answer is not None
    assert (answer.status.stage, answer.status.values, answer.is_hidden) == ("done", 7, True)
    assert found[under_way.file_id].answer_to(under_way, is_missing=True, now_s=time()) is None
    assert lookup([replace(done, found_s=0.0)])[done.file_id] == found[done.file_id]
    assert lookup([replace(done, found_s=time() + 3600)])[done.file_id] == found[done.file_id]  # a clock ahead of ours
    assert lookup([]) == {}
    producer.close()
    fetching.manager.close()


def test_a_tombstone_removes_a_file_for_every_reader_of_the_ledger(stack: Stack, element: Element) -> None:
    admin.provision(stack.kafka, [FILES_STATUS])
    producer = Producer(stack.kafka)
    fetching = Fetching(element)
    names_of = [replace(fetching.file(name), element="e-tombstone", found_s=time()) for name in names("T", 3)]
    removed, again, left = (replace(file, file_id=uuid.uuid4().hex[:16]) for file in names_of)
    done = [status_of(file, "done", time()) for file in (removed, again, left)]
    producer.deliver(*(about_element(FILES_STATUS, s.element, s.file_id, s.encode()) for s in done))
    gone = (Outgoing(FILES_STATUS.name, partition_of(s.element), s.file_id, None) for s in done[:2])
    producer.deliver(*gone)
    found = status_of(again, "found", time())
    producer.deliver(about_element(FILES_STATUS, found.element, found.file_id, found.encode()))
    histories = LedgerLookup(stack.kafka)([removed, again, left])
    assert {file_id: history.newest for file_id, history in histories.items()} == {
        again.file_id: found,
        left.file_id: done[2],
    }
    assert histories[again.file_id].through is None
    files = ledger.read_ledger(stack.kafka).files
    assert [files.get(file.file_id) for file in (removed, again, left)] == [None, found, done[2]]
    follower, stop = LedgerFollower(stack.kafka, producer, DefectBudget()), Event()
    thread = Thread(target=follower.follow, args=(stop,))
    thread.start()
    follower.catch_up(stop)
    stop.set()
    thread.join()
    stages = [known.stage if known else "" for known in map(follower.files.get, (s.file_id for s in done))]
    assert stages == ["", "found", "finished"]
    producer.close()
    fetching.manager.close()
