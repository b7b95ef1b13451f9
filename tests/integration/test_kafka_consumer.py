"""Our consumer on a real broker: while it waits it stays a member, and it loses no record that it was given."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

import pytest

from shared.configuration.kafka import Kafka
from shared.kafka import admin
from shared.kafka.consume import Consumer, follow_all
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import TopicPartition
from shared.topics import FILES_FOUND, Topic
from tools.devstack.stack import Stack

WAIT_S = 40.0
RECORDS = 5


@dataclass
class Group:
    """A topic of two partitions with records in both, and the members of its group."""

    brokers: Kafka
    topic: Topic
    members: list[Consumer] = field(default_factory=list)

    def send(self) -> None:
        producer = Producer(self.brokers)
        producer.deliver(*(Outgoing(self.topic.name, p, "k", b"v") for p in (0, 1) for _ in range(RECORDS)))
        producer.close()

    def join(self) -> tuple[Consumer, set[TopicPartition]]:
        """A new member, and the set of what is assigned to it; that is changed as rebalances come."""
        consumer, ours = Consumer(self.brokers, self.topic.name), set[TopicPartition]()
        self.members.append(consumer)
        consumer.subscribe([self.topic.name], ours.update, ours.difference_update)
        return consumer, ours


@pytest.fixture
def group(stack: Stack) -> Iterator[Group]:
    topic = Topic(
        name=f"consumed-{uuid.uuid4().hex[:8]}", about="", messages=(), writers=(), readers=(), key="k", partitions=2
    )
    admin.provision(stack.kafka, [topic, FILES_FOUND])
    made = Group(stack.kafka, topic)
    made.send()
    yield made
    for member in made.members:
        member.close()


def wait_paused_until(consumer: Consumer, ours: set[TopicPartition], many: int) -> None:
    until_s = monotonic() + WAIT_S
    while len(ours) < many:
        assert monotonic() < until_s
        consumer.wait_paused(1.0)


def offsets(consumer: Consumer, partitions: Sequence[int], many: int = RECORDS) -> dict[int, list[int]]:
    """Reads on until `many` records of these partitions are there."""
    found: dict[int, list[int]] = {p: [] for p in partitions}
    until_s = monotonic() + WAIT_S
    while sum(map(len, found.values())) < many * len(found):
        assert monotonic() < until_s, found
        for record in consumer.poll(2, 0.2):
            found[record.partition].append(record.offset)
    return found


def test_partitions_that_are_assigned_during_a_wait_are_read_from_their_first_record(group: Group) -> None:
    consumer, ours = group.join()
    wait_paused_until(consumer, ours, 2)
    consumer.wait_paused(1.0)  # long enough for what an unpaused consumer would have fetched
    assert offsets(consumer, [0, 1]) == {0: [*range(RECORDS)], 1: [*range(RECORDS)]}


def test_a_wait_amid_reading_skips_nothing(group: Group) -> None:
    consumer, _ = group.join()
    until_s = monotonic() + WAIT_S
    first = consumer.poll(1, 1.0)
    while not first:
        assert monotonic() < until_s
        first = consumer.poll(1, 1.0)
    consumer.wait_paused(0.5)
    group.send()
    consumer.wait_paused(0.5)
    (record,) = first
    rest = {0: [*range(2 * RECORDS)], 1: [*range(2 * RECORDS)]}
    found: dict[int, list[int]] = {0: [], 1: []}
    found[record.partition].append(record.offset)
    while found != rest:
        assert monotonic() < until_s, found
        for one in consumer.poll(2, 0.2):
            found[one.partition].append(one.offset)


def test_a_wait_does_not_resume_what_the_caller_paused(group: Group) -> None:
    consumer, ours = group.join()
    wait_paused_until(consumer, ours, 2)
    held = TopicPartition(group.topic.name, 1)
    consumer.pause([held])
    consumer.wait_paused(0.5)
    assert offsets(consumer, [0]) == {0: [*range(RECORDS)]}
    assert consumer.poll(1, 1.0) == []
    consumer.resume([held])
    assert offsets(consumer, [1]) == {1: [*range(RECORDS)]}


def test_a_waiting_member_is_not_expelled_and_hands_over_what_a_new_one_gets(group: Group) -> None:
    first, of_first = group.join()
    wait_paused_until(first, of_first, 2)
    second, of_second = group.join()
    until_s = monotonic() + WAIT_S
    while not of_second:
        assert monotonic() < until_s
        first.wait_paused(0.5)
        second.wait_paused(0.5)
    (mine,), (other,) = of_first, of_second
    assert {mine.partition, other.partition} == {0, 1}
    assert offsets(first, [mine.partition]) == {mine.partition: [*range(RECORDS)]}
    assert offsets(second, [other.partition]) == {other.partition: [*range(RECORDS)]}


def test_lag_position_and_committed_tell_how_far_a_member_is(group: Group) -> None:
    consumer, _ = group.join()
    assert offsets(consumer, [0, 1]) == {0: [*range(RECORDS)], 1: [*range(RECORDS)]}
    zero, one = TopicPartition(group.topic.name, 0), TopicPartition(group.topic.name, 1)
    assert consumer.position([zero, one]) == {zero: RECORDS, one: RECORDS}
    assert (consumer.lag(zero, 2), consumer.lag(one, RECORDS)) == (RECORDS - 2, 0)
    consumer.commit({zero: 3})
    assert consumer.committed([zero])[zero] == 3
    assert consumer.committed([one])[one] < 0
    consumer.seek(zero, 4)
    assert offsets(consumer, [0], 1) == {0: [4]}


def test_the_newest_record_of_each_key_is_read_and_no_partition_is_left_behind(group: Group) -> None:
    producer = Producer(group.brokers)
    for value, keys in ((b"1", "ab"), (b"2", "ab"), (None, "ba"), (b"3", "ba")):  # the first key has the last record
        producer.deliver(*(Outgoing(group.topic.name, 0, key, value) for key in keys))
    producer.close()
    reader = follow_all(group.brokers, group.topic)
    group.members.append(reader)
    read, until_s = dict[bytes, list[bytes | None]](), monotonic() + WAIT_S
    ends = {0: RECORDS + 8, 1: RECORDS}
    while any(reader.position([TopicPartition(group.topic.name, p)]).popitem()[1] < end for p, end in ends.items()):
        assert monotonic() < until_s
        records = reader.poll_newest(100, 5.0)
        offsets = [record.offset for record in records if record.partition == 0]
        assert offsets == sorted(offsets)
        for record in records:
            read.setdefault(record.key, []).append(record.value)
    assert {key: values[-1] for key, values in read.items()} == {b"a": b"3", b"b": b"3", b"k": b"v"}
    assert sum(map(len, read.values())) < sum(ends.values())
