"""ClickhouseBridge: the sink that stores batches in ClickHouse."""

from collections.abc import Mapping, Sequence

from services.ch_bridge.render import columnar_rows, problem_of_batch
from services.ch_bridge.repository import ClickhouseRepository
from shared.kafka.record import TopicPartition
from shared.messages import CounterBatch
from shared.sinks.landing import CounterKey, RefusedCounters, refuse
from shared.sinks.retention import within_retention


class ClickhouseBridge:
    """Stores batches through a ClickhouseRepository; both belong to one thread. See `shared.sinks.sink.Sink`.

    It stores no positions of its own: the consumer group's are enough, as storing a batch again changes nothing.
    """

    name = "clickhouse"

    def __init__(self, repository: ClickhouseRepository) -> None:
        self.repository = repository

    def resume(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:  # noqa: ARG002
        self.repository.check()
        return {}

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> None:  # noqa: ARG002
        kept = within_retention([b for b in batches if b.rows], self.repository.rules, self.name)
        refuse(kept, problem_of_batch)
        refused: dict[CounterKey, str] = {}
        for rows in columnar_rows(kept):
            try:
                self.repository.insert(rows)
            except RefusedCounters as error:
                refused |= error.reasons
        if refused:
            raise RefusedCounters(refused)

    def renew(self) -> None:
        self.repository.renew()
