"""MysqlWriterWorker: the sink that lands batches in MySQL."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from services.mysql_writer.connection import StaleSchema
from services.mysql_writer.repository import Repository
from services.mysql_writer.rows import Chunk, chunks, upserts
from shared.landing import Counter, RefusedCounters
from shared.messages import CounterBatch
from shared.settings import System
from shared.sink import Place

MANY: Final = 1_000_000


class MysqlWriterWorker:
    """Owned by one thread, as its connection is. See `shared.sink.Sink`."""

    name = "mysql"

    def __init__(self, repository: Repository, systems: Sequence[System]) -> None:
        self.repository = repository
        self.row_by_row = {system.name for system in systems if not system.batch_insert_counter}

    def resume(self, places: Sequence[Place]) -> Mapping[Place, int]:
        return self.repository.take_over(places)

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[Place, int]) -> None:
        try:
            self.repository.store(self._statements(batches), positions)
        except StaleSchema:
            self.repository.schema.forget()
            raise

    def _statements(self, batches: Sequence[CounterBatch]) -> list[bytes]:
        statements: list[bytes] = []
        refused: dict[Counter, str] = {}
        for chunk in chunks(batches):
            try:
                statements += self._upserts(chunk)
            except RefusedCounters as some:
                refused |= some.reasons
        if refused:
            raise RefusedCounters(refused)
        return statements

    def _upserts(self, chunk: Chunk) -> Iterator[bytes]:
        tables = self.repository.schema.tables(chunk)
        ids = self.repository.object_ids(chunk.system, {(element, ldn) for _, element, ldn, *_ in chunk.keys})
        most_rows = 1 if chunk.system in self.row_by_row else MANY
        for table, columns in tables.items():
            yield from upserts(table, columns, chunk, ids, most_rows)
