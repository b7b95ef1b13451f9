"""Our consumer of several topics on a real broker: members share the partition numbers, and no record comes twice."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

import pytest

from shared.configuration.kafka import Kafka
from shared.kafka import admin
from shared.kafka.co_partitioned import CoPartitionedConsumer
from shared.kafka.consume import Consumer
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import Record, TopicPartition
from shared.topics import Topic
from tools.devstack.stack import Stack

WAIT_S = 60.0
PARTITIONS = 4
RECORDS = 5


@dataclass
class Member:
    """A member of the group, with what it has and what it was given."""

    consumer: Consumer
    ours: set[TopicPartition] = field(default_factory=set)
    given: list[Record] = field(default_factory=list)
    gone: list[TopicPartition] = field(default_factory=list)

    def join(self, *topics: str) -> None:
        self.consumer.subscribe(topics, self.ours.update, self.lose)

    def lose(self, partitions: Sequence[TopicPartition]) -> None:
        self.ours.difference_update(partitions)
        self.gone += partitions

    def numbers(self, topic: str) -> set[int]:
        return {at.partition for at in self.ours if at.topic == topic}


@dataclass
class Group:
    """Two topics of four partitions each, with records in all of them."""

    brokers: Kafka
    topics: tuple[Topic, Topic]
    name: str
    members: list[Member] = field(default_factory=list)

    def send(self) -> None:
        producer = Producer(self.brokers)
        producer.deliver(
            *(Outgoing(t.name, p, "k", b"v") for t in self.topics for p in range(PARTITIONS) for _ in range(RECORDS))
        )
        producer.close()

    def join(self, consumer: Consumer | None = None) -> Member:
        member = Member(consumer or CoPartitionedConsumer(self.brokers, self.name))
        self.members.append(member)
        member.join(*(topic.name for topic in self.topics))
        return member

    def leave(self, member: Member) -> None:
        self.members.remove(member)
        member.consumer.close()

    def read_until(self, is_so: Callable[[], bool]) -> None:
        until_s = monotonic() + WAIT_S
        while not is_so():
            assert monotonic() < until_s, [(member.ours, len(member.given)) for member in self.members]
            for member in self.members:
                member.given += member.consumer.poll(3, 0.1)

    def given(self) -> Counter[tuple[str, int, int]]:
        return Counter((r.topic, r.partition, r.offset) for member in self.members for r in member.given)

    def all_records(self, times: int) -> Counter[tuple[str, int, int]]:
        offsets = range(times * RECORDS)
        return Counter((t.name, p, offset) for t in self.topics for p in range(PARTITIONS) for offset in offsets)


@pytest.fixture
def group(stack: Stack) -> Iterator[Group]:
    name = uuid.uuid4().hex[:8]
    topics = tuple(
        Topic(name=f"{topic}-{name}", about="", messages=(), writers=(), readers=(), key="k", partitions=PARTITIONS)
        for topic in ("found", "settle")
    )
    admin.provision(stack.kafka, topics)
    made = Group(stack.kafka, topics, name)  # type: ignore[arg-type]
    made.send()
    yield made
    for member in made.members:
        member.consumer.close()


def test_members_have_the_same_partition_numbers_of_both_topics_and_get_each_record_once(group: Group) -> None:
    """The first member keeps half of the partitions in the rebalance, and reads on where it was."""
    found, settle = (topic.name for topic in group.topics)
    first = group.join()
    group.read_until(lambda: len(first.given) == 2 * PARTITIONS * RECORDS)
    first.consumer.commit({TopicPartition(t, p): RECORDS for t in (found, settle) for p in range(PARTITIONS)})
    second = group.join()
    group.read_until(lambda: len(first.ours) == len(second.ours) == PARTITIONS)
    for member in group.members:
        assert member.numbers(found) == member.numbers(settle)
    assert first.numbers(found) | second.numbers(found) == {*range(PARTITIONS)}
    assert len(first.gone) == PARTITIONS  # only what it lost for good
    group.send()
    group.read_until(lambda: group.given().total() >= group.all_records(2).total())
    assert group.given() == group.all_records(2)


def test_nothing_that_stays_comes_again_although_nothing_was_committed(group: Group) -> None:
    first = group.join()
    group.read_until(lambda: len(first.given) == 2 * PARTITIONS * RECORDS)
    second = group.join()
    group.read_until(lambda: len(second.given) == PARTITIONS * RECORDS)  # what moved is read from its first record
    group.send()
    group.read_until(lambda: len(first.given) + len(second.given) == 5 * PARTITIONS * RECORDS)
    stayed = first.ours
    again = Counter((r.topic_partition, r.offset) for r in first.given if r.topic_partition in stayed)
    assert set(again.values()) == {1}
    assert len(again) == len(stayed) * 2 * RECORDS


def test_a_member_without_partitions_takes_over_from_one_that_leaves(group: Group) -> None:
    members = [group.join() for _ in range(PARTITIONS + 1)]
    group.read_until(lambda: sorted(len(member.ours) for member in members) == [0, *[2] * PARTITIONS])
    (idle,) = [member for member in members if not member.ours]
    group.read_until(lambda: len(group.given()) == 2 * PARTITIONS * RECORDS)
    group.leave(next(member for member in members if member.ours))
    group.read_until(lambda: len(idle.ours) == 2)


def test_a_paused_partition_stays_paused_in_a_rebalance(group: Group) -> None:
    found, settle = (topic.name for topic in group.topics)
    first = group.join()
    group.read_until(lambda: len(first.ours) == 2 * PARTITIONS)
    first.consumer.pause([TopicPartition(found, p) for p in range(PARTITIONS)])
    first.given.clear()
    group.send()
    second = group.join()
    group.read_until(lambda: len(first.ours) == PARTITIONS == len(second.ours))
    kept = {at for at in first.ours if at.topic == settle}
    group.read_until(lambda: {(r.topic_partition, r.offset) for r in first.given} >= {(at, 9) for at in kept})
    assert {record.topic for record in first.given} == {settle}
    first.consumer.resume([at for at in first.ours if at.topic == found])
    group.read_until(lambda: {record.topic for record in first.given} == {found, settle})


def test_a_member_of_the_former_version_is_waited_for_and_then_followed(group: Group) -> None:
    """Both protocols cannot be in one group: the new member takes over when the last former one leaves."""
    former = group.join(Consumer(group.brokers, group.name))
    group.read_until(lambda: len(former.given) == 2 * PARTITIONS * RECORDS)
    former.consumer.commit(dict.fromkeys(former.ours, RECORDS))
    new = group.join()
    group.send()
    group.read_until(lambda: len(former.given) == 4 * PARTITIONS * RECORDS)
    assert not new.ours
    group.leave(former)  # it has committed the first half only
    group.read_until(lambda: len(new.given) == 2 * PARTITIONS * RECORDS)
    assert {record.offset for record in new.given} == {*range(RECORDS, 2 * RECORDS)}


def test_what_a_former_group_left_is_read_and_no_more(group: Group) -> None:
    _, settle = group.topics
    former = Consumer(group.brokers, f"{group.name}-former")
    former.commit({TopicPartition(settle.name, 1): 2})
    former.close()
    member = group.join(CoPartitionedConsumer(group.brokers, group.name, {settle: f"{group.name}-former"}))
    group.read_until(lambda: len(member.given) == 2 * PARTITIONS * RECORDS - 2)
    of_one = [record.offset for record in member.given if record.topic_partition == (settle.name, 1)]
    assert of_one == [2, 3, 4]
    member.consumer.commit({TopicPartition(settle.name, 1): 4})
    group.leave(member)
    again = group.join(CoPartitionedConsumer(group.brokers, group.name, {settle: f"{group.name}-former"}))
    group.read_until(lambda: len(again.given) == 2 * PARTITIONS * RECORDS - 4)
    assert [record.offset for record in again.given if record.topic_partition == (settle.name, 1)] == [4]
