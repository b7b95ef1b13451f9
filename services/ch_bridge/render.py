"""Renders batches of counters as the columns of a wide table. Pure: no database access."""

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from math import nan as NAN  # noqa: N812 - a constant
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from shared.errors import Hopeless
from shared.messages import CounterBatch
from shared.sinks.landing import RefusedBatches
from shared.sinks.names import column_name, table_name
from shared.sinks.values import EXACT_INTEGER, HELD_BY, ColumnKind, ValueKind, as_text, value_kind

LATEST_S = 2**32 - 1
LARGEST_UNSIGNED = 2**32 - 1
Numbers = npt.NDArray[np.float64]
"""NaN stands for a missing value."""


def problem_of_batch(batch: CounterBatch) -> str:
    """Returns why no row of a batch can be stored; an empty text if the batch itself is no obstacle."""
    if not 0 <= batch.end_s <= LATEST_S:
        return f"end of period {batch.end_s} is not between the years 1970 and 2106"
    if not 0 <= batch.gp_s <= LARGEST_UNSIGNED:
        return f"granularity period of {batch.gp_s} s, at most {LARGEST_UNSIGNED} are stored"
    return ""


class RowBlock:
    """Rows with the same counters, from any number of files."""

    def __init__(self, counters: tuple[str, ...], batches: Sequence[CounterBatch]) -> None:
        """Collects the batches' rows.

        Raises:
            Hopeless: a row does not have one value per counter.
            RefusedBatches: two counters have the same column name.
        """
        self.counters = {column_name(counter, ()): counter for counter in counters}
        """Counter by column name, in the order of the rows' values."""
        self.positions = {column: at for at, column in enumerate(self.counters, 2)}
        self.batches = batches
        self.rows = list(chain.from_iterable(batch.rows for batch in batches))
        self.part = crc32(orjson.dumps(counters))
        if set(map(len, self.rows)) - {2 + len(counters)}:
            raise Hopeless(f"{batches[0].group}: a row does not have one value per counter")
        if len(self.counters) < len(counters):
            why = f"{batches[0].group}: two of its counters have the same column name"
            raise RefusedBatches([(batch, why) for batch in batches])

    def values(self, column: str) -> list[Any]:
        """Returns a column's values as they are in the messages."""
        at = self.positions.get(column)
        return [None] * len(self.rows) if at is None else [row[at] for row in self.rows]

    @cached_property
    def numbers(self) -> Mapping[str, Numbers | None]:
        """The numbers of each column; None if floating point does not hold every value exactly.

        They are packed row by row: the values of a row are adjacent in memory, those of a column are not, and struct is
        the fastest way to read Python's numbers. As it rounds large integers silently, a column that has one is checked
        value by value.
        """
        try:
            table = np.frombuffer(b"".join(chain.from_iterable(map(_packed, self.batches))))
        except (struct.error, OverflowError):  # a word, a vector, or an integer beyond the range of floating point
            return {column: _numbers(self.values(column)) for column in self.counters}
        table = table.reshape(len(self.rows), len(self.counters))
        large = set(np.flatnonzero((np.abs(table) >= EXACT_INTEGER).any(axis=0)).tolist())
        return {
            column: _numbers(self.values(column)) if at in large else table[:, at]
            for at, column in enumerate(self.counters)
        }


def _packed(batch: CounterBatch) -> list[bytes]:
    """Packs the values of each row as doubles.

    Raises:
        struct.error, OverflowError: a value is not a number or is out of range.
    """
    pack = struct.Struct(f"{len(batch.counters)}d").pack
    try:
        return [pack(*row[2:]) for row in batch.rows]
    except struct.error:  # most likely a missing value
        return [pack(*[NAN if v is None else v for v in row[2:]]) for row in batch.rows]


def _numbers(values: Sequence[Any]) -> Numbers | None:
    return np.array(values, dtype=np.float64) if "number" in HELD_BY[value_kind(values)] else None


@dataclass(frozen=True, slots=True)
class ColumnarRows:
    """Rows of one table, stored by column, from any number of files."""

    system: str
    group: str
    table: str
    keys: Mapping[str, pa.Array]
    blocks: Sequence[RowBlock]
    counters: Mapping[str, str]
    """Counter by column name; only counters with a value in at least one row."""
    numbers: Mapping[str, Numbers | None]
    """The numbers of each column; None if floating point does not hold every value exactly."""

    def values(self, column: str) -> list[Any]:
        """Returns a column's values as they are in the messages."""
        return [value for block in self.blocks for value in block.values(column)]

    def objects(self) -> set[tuple[str, str]]:
        """Returns element and measObjLdn of every row."""
        return {(batch.element, row[0]) for block in self.blocks for batch in block.batches for row in batch.rows}

    def declared(self, column: str) -> tuple[str | None, str]:
        """Returns the type and the unit that the counter dictionary declares, as far as any batch carries them."""
        counter = self.counters[column]
        found = [(batch.types, batch.units) for block in self.blocks for batch in block.batches]
        kind = next((types[counter] for types, _ in found if counter in types), None)
        return kind, next((units[counter] for _, units in found if counter in units), "")

    def value_kind(self, column: str) -> ValueKind:
        """Returns the kind of a column's values; 1.0 counts as the integer 1 here."""
        numbers = self.numbers[column]
        if numbers is None:
            return value_kind(self.values(column))
        whole = np.isnan(numbers) | ((numbers == np.trunc(numbers)) & (np.abs(numbers) < EXACT_INTEGER))
        return "count" if whole.all() else "fraction"

    def cells(self, column: str, kind: ColumnKind) -> pa.Array:
        """Returns the cells for a column of this kind, which must hold the values."""
        numbers = self.numbers[column]
        if kind == "number":
            return pa.array(numbers, from_pandas=True)  # NaN is null
        if kind == "integer" and numbers is not None:
            missing = np.isnan(numbers)
            return pa.array(np.where(missing, 0, numbers).astype(np.int64), mask=missing)
        if kind == "integer":
            return pa.array(self.values(column), pa.int64())
        return pa.array(map(as_text, self.values(column)), pa.string())


def columnar_rows(batches: Iterable[CounterBatch]) -> Iterator[ColumnarRows]:
    """Yields the rows of one insert per table, whatever counters the batches bring.

    Raises:
        Hopeless: a row does not have one value per counter, or a key does not fit its column.
        RefusedBatches: two counters of a batch have the same column name.
    """

    def group_of(batch: CounterBatch) -> tuple[str, str]:
        return batch.system, batch.group

    for (system, group), some in groupby(sorted(batches, key=group_of), key=group_of):
        yield _columnar_rows(system, group, some)


def _columnar_rows(system: str, group: str, batches: Iterable[CounterBatch]) -> ColumnarRows:
    alike: defaultdict[tuple[str, ...], list[CounterBatch]] = defaultdict(list)
    for batch in batches:
        alike[tuple(batch.counters)].append(batch)
    blocks = [RowBlock(*block) for block in alike.items()]
    counters = {column: counter for block in blocks for column, counter in block.counters.items()}
    found = {column: _side_by_side(blocks, column) for column in counters}
    with_values = {
        column: numbers for column, numbers in found.items() if numbers is None or not np.isnan(numbers).all()
    }
    return ColumnarRows(
        system,
        group,
        table_name(system, group),
        _keys(blocks),
        blocks,
        {column: counters[column] for column in with_values},
        with_values,
    )


def _side_by_side(blocks: Sequence[RowBlock], column: str) -> Numbers | None:
    parts = [block.numbers.get(column, np.full(len(block.rows), NAN)) for block in blocks]
    whole = [part for part in parts if part is not None]
    return np.concatenate(whole) if len(whole) == len(parts) else None


def _keys(blocks: Sequence[RowBlock]) -> dict[str, pa.Array]:
    """Returns the key columns of all rows, in the types of the table's columns."""
    batches = [batch for block in blocks for batch in block.batches]
    sizes = [len(batch.rows) for batch in batches]
    if bad := [batch.end_s for batch in batches if not 0 <= batch.end_s <= LATEST_S]:
        raise Hopeless(f"{batches[0].group}: end of period {bad[0]} is not between the years 1970 and 2106")

    def of_batches(values: list[int], kind: type[np.integer[Any]]) -> npt.NDArray[Any]:
        return np.repeat(np.array(values, dtype=kind), sizes)

    rows = [row for block in blocks for row in block.rows]
    parts = np.array([block.part for block in blocks], np.uint32)
    of_row = np.repeat(np.arange(len(batches)), sizes)
    try:
        return {
            "ts": pa.array(of_batches([b.end_s for b in batches], np.int64)).cast(pa.timestamp("s", tz="UTC")),
            "element": pa.array([b.element for b in batches], pa.string()).dictionary_encode().take(pa.array(of_row)),
            "object": pa.array([row[0] for row in rows], pa.string()),
            "gp_s": pa.array(of_batches([b.gp_s for b in batches], np.uint32)),
            "suspect": pa.array([row[1] for row in rows], pa.uint8()),
            "ver": pa.array(of_batches([b.ver for b in batches], np.int64)),
            "part": pa.array(np.repeat(parts, [len(block.rows) for block in blocks])),
        }
    except (pa.ArrowException, OverflowError) as error:
        raise Hopeless(f"{batches[0].group}: {error}") from error
