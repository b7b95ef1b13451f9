"""Batches of counters into columns of a wide table. Pure: no database in here."""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import nan as NAN  # noqa: N812 - a constant
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import orjson

from shared.errors import Hopeless
from shared.messages import CounterBatch
from shared.names import column_name, table_name
from shared.values import EXACT_INTEGER, HELD_BY, content_of

LATEST_S = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of one table, columnar, from any number of files."""

    system: str
    group: str
    table: str
    keys: Mapping[str, list[Any]]
    counters: Mapping[str, list[Any]]
    """By column name; only those with a value in at least one row."""
    names: Mapping[str, str]
    """Column name -> counter."""
    token: str
    """Of exactly this content: an insert that is repeated after a lost answer is dropped by the server."""


def columns(batches: Iterable[CounterBatch]) -> Iterator[Columns]:
    """One insert a table, whatever counters its batches bring.

    Raises:
        Hopeless: a row has not one value for each counter, or a time that ClickHouse's DateTime does not know.
    """

    def group_of(batch: CounterBatch) -> tuple[str, str]:
        return batch.system, batch.group

    for (system, group), some in groupby(sorted(batches, key=group_of), key=group_of):
        yield _columns(system, group, list(some))


def _columns(system: str, group: str, batches: Sequence[CounterBatch]) -> Columns:
    keys: dict[str, list[Any]] = {name: [] for name in ("ts", "element", "object", "gp_s", "suspect", "ver", "part")}
    counters: dict[str, list[Any]] = {}
    names: dict[str, str] = {}
    content = hashlib.blake2b(digest_size=16)
    for batch in batches:
        _check(batch)
        before, rows = len(keys["ts"]), len(batch.rows)
        objects, suspects, *values = map(list, zip(*batch.rows, strict=True))
        of_rows: tuple[tuple[str, list[Any]], ...] = (
            ("ts", [batch.end_s] * rows),
            ("element", [batch.element] * rows),
            ("object", objects),
            ("gp_s", [batch.gp_s] * rows),
            ("suspect", suspects),
            ("ver", [batch.ver] * rows),
            ("part", [crc32(orjson.dumps(batch.counters))] * rows),
        )
        for name, key in of_rows:
            keys[name] += key
        for counter, column in zip(batch.counters, values, strict=True):
            name = column_name(counter, ())
            names[name] = counter
            filled = counters.setdefault(name, [])
            filled += [None] * (before - len(filled))
            filled += column
        content.update(orjson.dumps((batch.file_id, batch.group, batch.end_s, batch.counters, batch.rows)))
    for column in counters.values():
        column.extend([None] * (len(keys["ts"]) - len(column)))
    with_values = {name: column for name, column in counters.items() if any(v is not None for v in column)}
    return Columns(system, group, table_name(system, group), keys, with_values, names, content.hexdigest())


def _check(batch: CounterBatch) -> None:
    if not 0 <= batch.end_s <= LATEST_S:
        raise Hopeless(f"end of period {batch.end_s} is not between 1970 and 2106")
    if any(len(row) != 2 + len(batch.counters) for row in batch.rows):
        raise Hopeless(f"{batch.group}: a row has not one value for each counter")


def numbers(values: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """The column as floating point, NaN for null; None when that would not hold every value exactly.

    Packed by struct, which is four times as fast as numpy's or Arrow's own reading of Python's numbers. It rounds large
    integers in silence, so a column with one is looked at value by value.
    """
    try:
        packed = struct.pack(f"{len(values)}d", *[NAN if v is None else v for v in values])
    except (struct.error, OverflowError):  # words, vectors, integers beyond all floating point
        return None
    found: npt.NDArray[np.float64] = np.frombuffer(packed)
    if (np.abs(found) >= EXACT_INTEGER).any() and "number" not in HELD_BY[content_of(values)]:
        return None
    return found
