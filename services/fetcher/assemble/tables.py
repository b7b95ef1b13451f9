"""The rows of a file by element, measurement group and period, and the messages made of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from services.fetcher import reasons
from services.fetcher.assemble.merge import merged
from services.fetcher.assemble.packer import Packer
from services.fetcher.assemble.quarantine import FileQuarantine
from services.fetcher.assemble.result import Batch, Origin
from services.fetcher.assemble.tally import Tally
from services.fetcher.parse.values.period import Period
from services.fetcher.preprocess.declared import DeclaredTypes
from services.fetcher.rows.held import CounterColumns, PeriodKey, PeriodRows, Rows
from shared.messages import CounterBatch


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """A CounterBatch up to its rows; the fields stand in the order of the message."""

    kind: str
    system: str
    file_id: str
    element: str
    group: str
    job: str
    gp_s: int
    end_s: int
    end_offset_min: int
    ver: int
    parsed_s: int
    counters: tuple[str, ...]


class PeriodTables:
    """Collects the rows of one file and turns them into messages."""

    def __init__(self, origin: Origin, packer: Packer, quarantine: FileQuarantine, tally: Tally) -> None:
        self.origin = origin
        self.packer = packer
        self.quarantine = quarantine
        self.tally = tally
        self.tables: dict[PeriodKey, PeriodRows] = {}
        self.columns: dict[CounterColumns, CounterColumns] = {}
        """Makes equal columns the same object."""

    def add(self, key: PeriodKey, period: Period, columns: CounterColumns, rows: Iterable[Rows]) -> None:
        """Adds rows of a measInfo."""
        table = self.tables.setdefault(key, PeriodRows(period.end_offset_min))
        columns = self.columns.setdefault(columns, columns)
        table.parts.extend((columns, some) for some in rows)

    def batches(self, declared: DeclaredTypes) -> Iterator[Batch]:
        """Yields the messages of all tables; each table is released when its messages are written."""
        while self.tables:
            key = next(iter(self.tables))
            table = self.tables.pop(key)
            yield from self._batches(key, table, declared)
            self.packer.release(rows for _, rows in table.parts)

    def _batches(self, key: PeriodKey, table: PeriodRows, declared: DeclaredTypes) -> Iterator[Batch]:
        if not table.is_contested():
            yield from self._batches_of_parts(key, table, table.parts, declared)
            return
        for result in merged(table.parts):
            self.tally.dropped[reasons.DUPLICATE_VALUE] += result.duplicates
            self.quarantine.add_conflicts(key, result.conflicts)
            yield from self._batches_of_parts(key, table, result.parts, declared)

    def _batches_of_parts(
        self, key: PeriodKey, table: PeriodRows, parts: list[tuple[CounterColumns, Rows]], declared: DeclaredTypes
    ) -> Iterator[Batch]:
        by_columns: dict[CounterColumns, list[Rows]] = {}
        for columns, rows in parts:
            by_columns.setdefault(columns, []).append(rows)
        for columns, same_columns in by_columns.items():
            start = self._batch_start(key, table.end_offset_min, columns, declared)
            for held, rows in self.packer.messages(same_columns, start):
                yield Batch(held, key.group, key.end_s, rows.height, rows.values)

    def _batch_start(
        self, key: PeriodKey, end_offset_min: int, columns: CounterColumns, declared: DeclaredTypes
    ) -> bytes:
        """Returns a CounterBatch up to its first row, without declared types where they leave too little room."""
        header = BatchHeader(
            kind=CounterBatch.kind,
            system=self.origin.system,
            file_id=self.origin.file_id,
            element=key.element,
            group=key.group,
            job=columns.job,
            gp_s=key.gp_s,
            end_s=key.end_s,
            end_offset_min=end_offset_min,
            ver=self.origin.ver,
            parsed_s=self.origin.parsed_s,
            counters=columns.counters,
        )
        start = orjson.dumps(header)[:-1]
        types_and_units = declared.types_and_units(key.group, columns.counters)
        if types_and_units:
            with_types = start + b"," + orjson.dumps(types_and_units)[1:-1]
            start = with_types if len(with_types) <= self.packer.max_bytes // 2 else start
        return start + b',"rows":['
