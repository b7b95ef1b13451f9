"""Reads several topics as a member of a group whose members get the same partition numbers of each topic."""

from collections.abc import Mapping, Sequence

import confluent_kafka
from confluent_kafka import OFFSET_STORED

from shared.configuration.kafka import Kafka
from shared.kafka import admin
from shared.kafka.consume import Consumer, Rebalanced
from shared.kafka.record import Record, TopicPartition
from shared.topics import Topic


class CoPartitionedConsumer(Consumer):
    """A consumer that gets the same partition numbers of each of its topics, which must have equally many.

    Only the assignor `range` promises that. In each rebalance it takes all partitions away from their members and
    assigns them anew; most come back to where they were. A partition that comes back is read on after the last record
    that was returned, and the callbacks of `subscribe` get to know only of partitions that are new or gone for good.
    """

    def __init__(self, brokers: Kafka, group: str, former_groups: Mapping[Topic, str] | None = None) -> None:
        """Creates a consumer.

        Args:
            brokers: the cluster.
            group: its group.
            former_groups: topic -> the group that read it before; reading starts at that group's committed offset in
                a partition where this group has committed none.
        """
        super().__init__(brokers, group, "range")
        self._brokers = brokers
        self._former_groups = dict(former_groups or {})
        self._next_offsets: dict[TopicPartition, int] = {}
        """The offset after the last record that was returned from each partition of ours."""
        self._ours: set[TopicPartition] = set()
        """Our partitions; during a rebalance, those before it."""

    def subscribe(
        self,
        topics: Sequence[str],
        on_assign: Rebalanced = lambda _: None,
        on_revoke: Rebalanced = lambda _: None,
    ) -> None:
        """Joins the group. `on_assign` may pause the new partitions; `on_revoke` is called for those that are gone."""

        def assigned(_: object, partitions: list[confluent_kafka.TopicPartition]) -> None:
            now = [TopicPartition(p.topic, p.partition) for p in partitions]
            new = [partition for partition in now if partition not in self._ours]
            self._forget(self._ours - set(now), on_revoke)
            starts = self._former_offsets(new) | self._next_offsets
            self._client.assign([confluent_kafka.TopicPartition(*p, starts.get(p, OFFSET_STORED)) for p in now])
            self._client.pause([p for p, at in zip(partitions, now, strict=True) if self._is_held(at)])
            self._ours = set(now)
            on_assign(new)

        def revoked(_: object, partitions: list[confluent_kafka.TopicPartition]) -> None:
            self._drop_polled([TopicPartition(p.topic, p.partition) for p in partitions])
            self._client.unassign()

        def lost(_: object, partitions: list[confluent_kafka.TopicPartition]) -> None:
            revoked(_, partitions)
            self._forget(set(self._ours), on_revoke)

        self._client.subscribe(list(topics), on_assign=assigned, on_revoke=revoked, on_lost=lost)

    def poll(self, most: int, timeout_s: float) -> list[Record]:
        """Returns the next records, see `Consumer.poll`; none that was returned before a rebalance comes again."""
        records = []
        for record in super().poll(most, timeout_s):
            at = record.topic_partition
            if record.offset >= self._next_offsets.get(at, 0):
                self._next_offsets[at] = record.offset + 1
                records.append(record)
        return records

    def _is_held(self, partition: TopicPartition) -> bool:
        return self._is_waiting or partition in self._paused

    def _forget(self, gone: set[TopicPartition], on_revoke: Rebalanced) -> None:
        self._ours -= gone
        self._paused -= gone
        for partition in gone:
            self._next_offsets.pop(partition, None)
        if gone:
            on_revoke(sorted(gone))

    def _former_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Returns the offsets of the former groups in the partitions in which this group has committed none."""
        starts: dict[TopicPartition, int] = {}
        for topic, group in self._former_groups.items():
            mine = self.committed([partition for partition in partitions if partition.topic == topic.name])
            if unread := [partition for partition, offset in mine.items() if offset < 0]:
                former = admin.committed(self._brokers, group, topic)
                starts |= {at: former[at.partition] for at in unread if former.get(at.partition, -1) >= 0}
        return starts
