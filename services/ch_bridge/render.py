"""Renders batches of counters as the columns of a wide table. Pure: no database access."""

import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from math import nan as NAN  # noqa: N812 - a constant
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shared.errors import Hopeless
from shared.messages import CounterBatch
from shared.sinks.landing import RefusedBatches
from shared.sinks.names import name_digest
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
            RefusedBatches: a counter is there twice.
        """
        self.counters = {counter: at for at, counter in enumerate(counters)}
        """Position of each counter in the rows' values."""
        self.batches = batches
        self.rows = list(chain.from_iterable(batch.rows for batch in batches))
        self.part = int.from_bytes(name_digest(*counters)[:8])
        if set(map(len, self.rows)) - {2 + len(counters)}:
            raise Hopeless(f"{batches[0].group}: a row does not have one value per counter")
        if len(self.counters) < len(counters):
            why = f"{batches[0].group}: a counter is there twice"
            raise RefusedBatches([(batch, why) for batch in batches])

    def values(self, counter: str) -> list[Any]:
        """Returns a counter's values as they are in the messages."""
        if counter not in self.counters:
            return [None] * len(self.rows)
        at = 2 + self.counters[counter]
        return [row[at] for row in self.rows]

    @cached_property
    def numbers(self) -> Mapping[str, Numbers | None]:
        """The numbers of each counter; None if floating point does not hold every value exactly.

        They are packed row by row: the values of a row are adjacent in memory, those of a column are not, and struct is
        the fastest way to read Python's numbers. As it rounds large integers silently, a column that has one is checked
        value by value.
        """
        try:
            table = np.frombuffer(b"".join(chain.from_iterable(map(_packed, self.batches))))
        except (struct.error, OverflowError):  # a word, a vector, or an integer beyond the range of floating point
            return {counter: _numbers(self.values(counter)) for counter in self.counters}
        table = table.reshape(len(self.rows), len(self.counters))
        large = set(np.flatnonzero((np.abs(table) >= EXACT_INTEGER).any(axis=0)).tolist())
        return {
            counter: _numbers(self.values(counter)) if at in large else table[:, at]
            for counter, at in self.counters.items()
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
    keys: Mapping[str, pa.Array]
    blocks: Sequence[RowBlock]
    numbers: Mapping[str, Numbers | None]
    """The numbers of each counter; None if floating point does not hold every value exactly.

    Only counters with a value in at least one row are here.
    """

    @property
    def counters(self) -> Collection[str]:
        """The counters with a value in at least one row."""
        return self.numbers.keys()

    @property
    def all_counters(self) -> Collection[str]:
        """The counters with or without a value."""
        return dict.fromkeys(counter for block in self.blocks for counter in block.counters).keys()

    def values(self, counter: str) -> list[Any]:
        """Returns a counter's values as they are in the messages."""
        return [value for block in self.blocks for value in block.values(counter)]

    def objects(self) -> set[tuple[str, str]]:
        """Returns element and measObjLdn of every row."""
        return {(batch.element, row[0]) for block in self.blocks for batch in block.batches for row in batch.rows}

    def declared(self, counter: str) -> tuple[str | None, str]:
        """Returns the type and the unit that the counter dictionary declares, as far as any batch carries them."""
        found = [(batch.types, batch.units) for block in self.blocks for batch in block.batches]
        kind = next((types[counter] for types, _ in found if counter in types), None)
        return kind, next((units[counter] for _, units in found if counter in units), "")

    def value_kind(self, counter: str) -> ValueKind:
        """Returns the kind of a counter's values; 1.0 counts as the integer 1 here."""
        numbers = self.numbers[counter]
        if numbers is None:
            return value_kind(self.values(counter))
        whole = np.isnan(numbers) | ((numbers == np.trunc(numbers)) & (np.abs(numbers) < EXACT_INTEGER))
        return "count" if whole.all() else "fraction"

    def cells(self, counter: str, kind: ColumnKind) -> pa.Array:
        """Returns the cells for a column of this kind, which must hold the values."""
        numbers = self.numbers[counter]
        if kind == "number":
            return pa.array(numbers, from_pandas=True)  # NaN is null
        if kind == "integer" and numbers is not None:
            missing = np.isnan(numbers)
            return pa.array(np.where(missing, 0, numbers).astype(np.int64), mask=missing)
        if kind == "integer":
            return pa.array(self.values(counter), pa.int64())
        return pa.array(map(as_text, self.values(counter)), pa.string())


def columnar_rows(batches: Iterable[CounterBatch]) -> Iterator[ColumnarRows]:
    """Yields the rows of one insert per table, whatever counters the batches bring.

    Raises:
        Hopeless: a row does not have one value per counter, or a key does not fit its column.
        RefusedBatches: a counter is there twice in a batch.
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
    counters = dict.fromkeys(counter for block in blocks for counter in block.counters)
    found = {counter: _side_by_side(blocks, counter) for counter in counters}
    with_values = {
        counter: numbers for counter, numbers in found.items() if numbers is None or not np.isnan(numbers).all()
    }
    return ColumnarRows(system, group, _keys(blocks), blocks, with_values)


def _side_by_side(blocks: Sequence[RowBlock], counter: str) -> Numbers | None:
    parts = [block.numbers.get(counter, np.full(len(block.rows), NAN)) for block in blocks]
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
    parts = np.array([block.part for block in blocks], np.uint64)
    of_row = np.repeat(np.arange(len(batches)), sizes)
    try:
        return {
            "ts": pa.array(of_batches([b.end_s for b in batches], np.int64)).cast(pa.timestamp("s", tz="UTC")),
            "element": pa.array([b.element for b in batches], pa.string()).dictionary_encode().take(pa.array(of_row)),
            "object": pa.array([row[0] for row in rows], pa.string()),
            "gp_s": pa.array(of_batches([b.gp_s for b in batches], np.uint32)),
            "suspect": pa.array([row[1] for row in rows], pa.uint8()),
            "ver": pa.array(of_batches([b.ver for b in batches], np.int64)),
            "parsed_s": pa.array(of_batches([b.parsed_s for b in batches], np.uint32)),
            "part": pa.array(np.repeat(parts, [len(block.rows) for block in blocks])),
        }
    except (pa.ArrowException, OverflowError) as error:
        raise Hopeless(f"{batches[0].group}: {error}") from error
