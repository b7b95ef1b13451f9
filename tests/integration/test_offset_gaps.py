"""Gaps in a topic on a real broker: deleted records and topics created anew are noticed, reported and passed."""

from collections.abc import Iterator

import pytest

from shared.kafka import admin
from shared.ledger import OffsetGap
from shared.messages import SinkPosition
from shared.sinks import metrics
from shared.topics import FILES_STATUS
from tests.integration.test_sink_loop import PARTITION, Memory, Running, batch, eventually, read
from tests.unit.shared.kafka.deletions import delete_records, delete_topic
from tools.cli.operate.ledger import ledger_records
from tools.devstack.stack import Stack


@pytest.fixture
def loop(stack: Stack) -> Iterator[Running[Memory]]:
    running = Running(stack.kafka, Memory())
    yield running
    running.end()


def delete_before(loop: Running[Memory], offset: int) -> None:
    delete_records(loop.brokers, loop.topic, {PARTITION: offset})


def ledger(loop: Running[Memory]) -> list[OffsetGap | SinkPosition]:
    """Returns the gaps and positions of this sink, in the order in which they were written."""
    records = [found for _, found in ledger_records(read(loop.brokers, FILES_STATUS))]
    return [r for r in records if isinstance(r, (OffsetGap, SinkPosition)) and r.topic == loop.topic.name]


def gaps(loop: Running[Memory]) -> list[tuple[int, int, int]]:
    return [(r.partition, r.first, r.next_offset) for r in ledger(loop) if isinstance(r, OffsetGap)]


def newest_position(loop: Running[Memory]) -> int:
    positions = [r.next_offset for r in ledger(loop) if isinstance(r, SinkPosition) and r.partition == PARTITION]
    return positions[-1] if positions else -1


def stored_two_and_paused(loop: Running[Memory]) -> None:
    loop.start()
    loop.send(batch("1"), batch("2"))
    eventually(lambda: newest_position(loop) == 2)
    loop.pause()


def test_records_deleted_while_the_sink_is_away_are_a_gap_before_its_position_passes_them(
    loop: Running[Memory],
) -> None:
    stored_two_and_paused(loop)
    loop.send(*(batch(str(n)) for n in range(3, 8)))
    delete_before(loop, 5)
    loop.start()
    eventually(lambda: newest_position(loop) == 7)
    assert loop.sink.stored == ["1", "2", "6", "7"]
    assert gaps(loop) == [(PARTITION, 2, 5)]
    order = [type(r) for r in ledger(loop) if isinstance(r, OffsetGap) or r.next_offset > 2]
    assert order[0] is OffsetGap
    labels = "memory", loop.topic.name, PARTITION
    assert metrics.OFFSET_GAPS.labels(*labels)._value.get() == 1
    assert metrics.OFFSET_GAP_MESSAGES.labels(*labels)._value.get() == 3


def test_a_position_passes_a_gap_with_nothing_behind_it(loop: Running[Memory]) -> None:
    stored_two_and_paused(loop)
    loop.send(batch("3"), batch("4"))
    delete_before(loop, 4)
    loop.start()
    eventually(lambda: newest_position(loop) == 4)
    assert gaps(loop) == [(PARTITION, 2, 4)]
    assert loop.sink.stored == ["1", "2"]


def test_records_deleted_before_a_running_sink_are_a_gap(loop: Running[Memory]) -> None:
    loop.start()
    loop.send(batch("1"))
    eventually(lambda: newest_position(loop) == 1)
    loop.sink.away.set()
    loop.send(batch("2"))
    assert loop.sink.refused.wait(40)
    loop.send(*(batch(str(n)) for n in range(3, 8)))  # read only after the write succeeds
    delete_before(loop, 6)
    loop.sink.away.clear()
    eventually(lambda: newest_position(loop) == 7)
    found = [(first, last) for _, first, last in gaps(loop)]
    missed = {offset for first, last in found for offset in range(first, last)}
    assert {int(name) - 1 for name in loop.sink.stored} | missed == set(range(7))
    assert not {int(name) - 1 for name in loop.sink.stored} & missed


def test_a_topic_created_anew_is_read_from_its_beginning(loop: Running[Memory]) -> None:
    """Kafka forgets the positions of a group with the topic, so only a database that stores them notices."""
    loop.sink.keeps_positions = True
    stored_two_and_paused(loop)
    delete_topic(loop.brokers, loop.topic)
    admin.provision(loop.brokers, [loop.topic])
    loop.send(batch("8"))
    loop.start()
    eventually(lambda: loop.sink.stored == ["1", "2", "8"])
    eventually(lambda: newest_position(loop) == 1)
    assert gaps(loop) == [(PARTITION, 2, 0)]


def test_a_sink_that_reads_a_topic_for_the_first_time_has_no_gap(loop: Running[Memory]) -> None:
    loop.send(batch("1"), batch("2"), batch("3"))
    delete_before(loop, 2)
    loop.start()
    eventually(lambda: newest_position(loop) == 3)
    assert loop.sink.stored == ["3"]
    assert gaps(loop) == []
