"""ClickhouseBridge: the sink that lands batches in ClickHouse."""

from collections.abc import Mapping, Sequence

from services.ch_bridge.clickhouse import ClickHouse
from services.ch_bridge.columns import columns
from shared.kafka.record import TopicPartition
from shared.messages import CounterBatch
from shared.sinks.landing import Counter, RefusedCounters
from shared.sinks.retention import kept


class ClickhouseBridge:
    """Owned by one thread. See `shared.sinks.loop.Sink`.

    It keeps no positions of its own: the consumer group's do, since storing a batch again changes nothing.
    """

    name = "clickhouse"

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.clickhouse = clickhouse

    def resume(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:  # noqa: ARG002
        self.clickhouse.check()
        return {}

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> None:  # noqa: ARG002
        refused: dict[Counter, str] = {}
        young = kept(batches, lambda system: self.clickhouse.rules(system).retention_days or 0, self.name)
        for rows in columns(young):
            try:
                self.clickhouse.insert(rows)
            except RefusedCounters as some:
                refused |= some.reasons
        if refused:
            raise RefusedCounters(refused)
