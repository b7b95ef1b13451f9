"""Batches of counters into columns of a wide table. Pure: no database in here."""

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
from shared.sinks.names import column_name, table_name
from shared.sinks.values import EXACT_INTEGER, HELD_BY, Content, Kind, as_text, content_of

LATEST_S = 2**32 - 1
Numbers = npt.NDArray[np.float64]
"""NaN stands for a missing value."""


class Block:
    """Rows with the same counters, of any number of files."""

    def __init__(self, counters: tuple[str, ...], batches: Sequence[CounterBatch]) -> None:
        """Raises Hopeless: a row has not one value for each counter, or a counter comes twice."""
        self.counters = {column_name(counter, ()): counter for counter in counters}
        """By column name, in the order of the rows' values."""
        self.batches = batches
        self.rows = list(chain.from_iterable(batch.rows for batch in batches))
        self.part = crc32(orjson.dumps(counters))
        if set(map(len, self.rows)) - {2 + len(counters)}:
            raise Hopeless(f"{batches[0].group}: a row has not one value for each counter")
        if len(self.counters) < len(counters):
            raise Hopeless(f"{batches[0].group}: a counter comes twice")

    def values(self, column: str) -> list[Any]:
        """As the messages have them."""
        if column not in self.counters:
            return [None] * len(self.rows)
        at = 2 + list(self.counters).index(column)
        return [row[at] for row in self.rows]

    @cached_property
    def numbers(self) -> Mapping[str, Numbers | None]:
        """By column; None where floating point does not hold every value exactly.

        Packed row by row: a row's values lie together in memory, a column's do not, and struct is the fastest reader of
        Python's numbers, but it rounds large integers in silence, so a column with one is looked at value by value.
        """
        try:
            table = np.frombuffer(b"".join(chain.from_iterable(map(_packed, self.batches))))
        except (struct.error, OverflowError):  # a word, a vector, an integer beyond all floating point
            return {column: _numbers(self.values(column)) for column in self.counters}
        table = table.reshape(len(self.rows), len(self.counters))
        large = set(np.flatnonzero((np.abs(table) >= EXACT_INTEGER).any(axis=0)).tolist())
        return {
            column: _numbers(self.values(column)) if at in large else table[:, at]
            for at, column in enumerate(self.counters)
        }


def _packed(batch: CounterBatch) -> list[bytes]:
    """The values of each row. Raises struct.error, OverflowError."""
    pack = struct.Struct(f"{len(batch.counters)}d").pack
    try:
        return [pack(*row[2:]) for row in batch.rows]
    except struct.error:  # a missing value, most likely
        return [pack(*[NAN if v is None else v for v in row[2:]]) for row in batch.rows]


def _numbers(values: Sequence[Any]) -> Numbers | None:
    return np.array(values, dtype=np.float64) if "number" in HELD_BY[content_of(values)] else None


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of one table, columnar, from any number of files."""

    system: str
    group: str
    table: str
    keys: Mapping[str, pa.Array]
    blocks: Sequence[Block]
    counters: Mapping[str, str]
    """By column name; only those with a value in at least one row."""
    numbers: Mapping[str, Numbers | None]
    """By column name; None where floating point does not hold every value exactly."""

    def values(self, column: str) -> list[Any]:
        """As the messages have them."""
        return [value for block in self.blocks for value in block.values(column)]

    def objects(self) -> set[tuple[str, str]]:
        """Element, measObjLdn."""
        return {(batch.element, row[0]) for block in self.blocks for batch in block.batches for row in batch.rows}

    def said(self, column: str) -> tuple[str | None, str]:
        """Type and unit in the counter dictionary, as far as a batch tells them."""
        counter = self.counters[column]
        told = [(batch.types, batch.units) for block in self.blocks for batch in block.batches]
        kind = next((types[counter] for types, _ in told if counter in types), None)
        return kind, next((units[counter] for _, units in told if counter in units), "")

    def content(self, column: str) -> Content:
        """What the values are; 1.0 counts as 1 here."""
        numbers = self.numbers[column]
        if numbers is None:
            return content_of(self.values(column))
        whole = np.isnan(numbers) | ((numbers == np.trunc(numbers)) & (np.abs(numbers) < EXACT_INTEGER))
        return "count" if whole.all() else "fraction"

    def cells(self, column: str, kind: Kind) -> pa.Array:
        """For a column of that kind, which holds them."""
        numbers = self.numbers[column]
        if kind == "number":
            return pa.array(numbers, from_pandas=True)  # NaN is null
        if kind == "integer" and numbers is not None:
            missing = np.isnan(numbers)
            return pa.array(np.where(missing, 0, numbers).astype(np.int64), mask=missing)
        if kind == "integer":
            return pa.array(self.values(column), pa.int64())
        return pa.array(map(as_text, self.values(column)), pa.string())


def columns(batches: Iterable[CounterBatch]) -> Iterator[Columns]:
    """One insert a table, whatever counters its batches bring.

    Raises:
        Hopeless: a row has not one value for each counter, a counter comes twice, or a key does not fit its column.
    """

    def group_of(batch: CounterBatch) -> tuple[str, str]:
        return batch.system, batch.group

    for (system, group), some in groupby(sorted(batches, key=group_of), key=group_of):
        yield _columns(system, group, some)


def _columns(system: str, group: str, batches: Iterable[CounterBatch]) -> Columns:
    alike: defaultdict[tuple[str, ...], list[CounterBatch]] = defaultdict(list)
    for batch in batches:
        alike[tuple(batch.counters)].append(batch)
    blocks = [Block(*block) for block in alike.items()]
    counters = {column: counter for block in blocks for column, counter in block.counters.items()}
    found = {column: _side_by_side(blocks, column) for column in counters}
    with_values = {
        column: numbers for column, numbers in found.items() if numbers is None or not np.isnan(numbers).all()
    }
    return Columns(
        system,
        group,
        table_name(system, group),
        _keys(blocks),
        blocks,
        {column: counters[column] for column in with_values},
        with_values,
    )


def _side_by_side(blocks: Sequence[Block], column: str) -> Numbers | None:
    parts = [block.numbers.get(column, np.full(len(block.rows), NAN)) for block in blocks]
    whole = [part for part in parts if part is not None]
    return np.concatenate(whole) if len(whole) == len(parts) else None


def _keys(blocks: Sequence[Block]) -> dict[str, pa.Array]:
    """Of each row, in the types of the table's columns."""
    batches = [batch for block in blocks for batch in block.batches]
    sizes = [len(batch.rows) for batch in batches]
    if bad := [batch.end_s for batch in batches if not 0 <= batch.end_s <= LATEST_S]:
        raise Hopeless(f"{batches[0].group}: end of period {bad[0]} is not between 1970 and 2106")

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
