"""MysqlWriterWorker: the sink that stores batches in MySQL."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from services.mysql_writer.objects import ObjectKey
from services.mysql_writer.render import Chunk, chunks, problem_of_batch, upserts
from services.mysql_writer.repository import Repository
from shared.health import Heartbeat
from shared.kafka.record import TopicPartition
from shared.messages import CounterBatch
from shared.sinks.failures import StaleSchema
from shared.sinks.landing import CounterKey, RefusedCounters, refuse
from shared.sinks.retention import within_retention

log = logging.getLogger(__name__)
NO_LIMIT: Final = 1_000_000


class MysqlWriterWorker:
    """Stores batches through a Repository; both belong to one thread. See `shared.sinks.sink.Sink`."""

    name = "mysql"

    def __init__(self, repository: Repository, heartbeat: Heartbeat | None = None) -> None:
        self.repository = repository
        self.heartbeat = heartbeat or Heartbeat("")

    def resume(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return self.repository.take_over(partitions)

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> None:
        self.repository.refresh()
        try:
            self.repository.store(self._reporting(self._statements(batches)), positions)
        except StaleSchema:
            self.repository.forget()
            raise

    def renew(self) -> None:
        self.repository.renew()

    def _reporting(self, statements: Iterable[bytes]) -> Iterator[bytes]:
        """Reports progress with each statement that the database accepts, as a slow write is not a hang."""
        for statement in statements:
            self.heartbeat.progress()
            yield statement

    def _statements(self, batches: Sequence[CounterBatch]) -> list[bytes]:
        kept = within_retention([b for b in batches if b.rows], self.repository.rules, self.name)
        refuse(kept, problem_of_batch)
        statements: list[bytes] = []
        refused: dict[CounterKey, str] = {}
        for chunk in chunks(kept):
            try:
                statements += self._upserts(chunk)
            except RefusedCounters as error:
                refused |= error.reasons
        if refused:
            raise RefusedCounters(refused)
        return statements

    def _upserts(self, chunk: Chunk) -> Iterator[bytes]:
        rules = self.repository.rules(chunk.system)
        tables = self.repository.schema.tables(chunk)
        numbers = self._objects(chunk, split_dn=rules.split_dn)
        for table, columns in tables.items():
            yield from upserts(table, columns, chunk, numbers, 1 if rules.row_by_row else NO_LIMIT)

    def _objects(self, chunk: Chunk, *, split_dn: bool) -> dict[ObjectKey, int]:
        """Returns the numbers of the chunk's objects; the group's view shows the components of their names."""
        wanted = {(element, ldn) for _, element, ldn, *_ in chunk.keys}
        objects = self.repository.objects
        found = objects.known(chunk.system, wanted, split_dn=split_dn)
        classes = set(chain.from_iterable({known.classes for known in found.values()}))
        components = {column for kind in classes if (column := objects.columns.get(kind))}
        group = chunk.system, chunk.group
        self.repository.views.show(group, self.repository.schema.columns[group].values(), components)
        return {key: known.number for key, known in found.items()}
