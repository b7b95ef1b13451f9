"""Renders batches of counters as SQL statements. Pure: no database access."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson

from services.mysql_writer.ddl import ROW_COLUMNS, CounterColumn, quoted_identifier
from shared.errors import Hopeless
from shared.messages import CounterBatch
from shared.sinks.names import LONGEST_STORED_NAME, LONGEST_SYSTEM
from shared.sinks.values import ColumnKind, as_text

CELLS_PER_STATEMENT = 100_000
"""About 1 MB of numbers."""
BYTES_PER_STATEMENT = 2_000_000
"""Well below the smallest max_allowed_packet in use (4 MB)."""
FIRST_S = int(datetime(1000, 1, 1, tzinfo=UTC).timestamp())
LAST_S = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
TEXT_KINDS: frozenset[ColumnKind] = frozenset({"text", "vector"})
"""The kinds of columns whose cells are written as text."""


LONGEST_TEXT_BYTES = 65_535
"""Most bytes of an element's name."""
LARGEST_UNSIGNED = 2**32 - 1
FIRST_S, LAST_S = -30_610_224_000, 253_402_300_799
"""The years 1000 to 9999, which DATETIME holds, in seconds since 1970."""


def problem_of_batch(batch: CounterBatch) -> str:
    """Returns why no row of a batch can be stored; an empty text if the batch itself is no obstacle."""
    if len(batch.system) > LONGEST_SYSTEM:
        return f"name of the system of {len(batch.system)} characters, at most {LONGEST_SYSTEM} are stored"
    if len(batch.group) > LONGEST_STORED_NAME:
        return f"measInfoId of {len(batch.group)} characters, at most {LONGEST_STORED_NAME} are stored"
    if len(batch.element.encode()) > LONGEST_TEXT_BYTES:
        return f"element name of {len(batch.element.encode())} bytes, at most {LONGEST_TEXT_BYTES} are stored"
    if not FIRST_S <= batch.end_s <= LAST_S:
        return f"end of period {batch.end_s} is not in the years 1000 to 9999"
    if not 0 <= batch.gp_s <= LARGEST_UNSIGNED:
        return f"granularity period of {batch.gp_s} s, at most {LARGEST_UNSIGNED} are stored"
    return ""


RowKeyCells = tuple[int, str, str, int, int, int, int]
"""The cells of a row besides its counters: ts (as YYYYMMDDhhmmss), element, ldn, gp_s, suspect, ver, parsed_s."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one group with the same counters, stored by column. They may come from several files; keys may repeat."""

    system: str
    group: str
    keys: list[RowKeyCells]
    """One per row."""
    counters: Mapping[str, list[Any]]
    """Values by counter; only counters with a value in at least one row."""
    types: Mapping[str, str]
    """Types that the counter dictionary declares, by counter."""
    units: Mapping[str, str]
    """Units that the counter dictionary declares, by counter."""
    all_counters: Sequence[str] = ()
    """The names of all counters, with or without a value."""


def chunks(batches: Iterable[CounterBatch]) -> Iterator[Chunk]:
    """Groups batches that fit one statement.

    Raises:
        Hopeless: a row does not have one value per counter, or a time is out of range.
    """

    def alike(batch: CounterBatch) -> tuple[str, str, list[str]]:
        return batch.system, batch.group, batch.counters

    for (system, group, counters), some in groupby(sorted(batches, key=alike), key=alike):
        yield _chunk(system, group, counters, some)


def _chunk(system: str, group: str, counters: Sequence[str], batches: Iterable[CounterBatch]) -> Chunk:
    keys: list[RowKeyCells] = []
    rows: list[list[Any]] = []
    types: dict[str, str] = {}
    units: dict[str, str] = {}
    for batch in batches:
        ts = datetime_number(batch.end_s)
        version = batch.ver, batch.parsed_s
        keys += [(ts, batch.element, row[0], batch.gp_s, row[1], *version) for row in batch.rows]
        rows += batch.rows
        types |= batch.types
        units |= batch.units
    try:
        columns = list(zip(*rows, strict=True))[2:]
        named = list(zip(counters, columns, strict=True))
    except ValueError as error:
        raise Hopeless(f"{group}: a row does not have one value per counter") from error
    with_values = {name: list(column) for name, column in named if any(v is not None for v in column)}
    return Chunk(system, group, keys, with_values, types, units, counters)


def datetime_number(epoch_s: int) -> int:
    """Returns a UTC time as MySQL's numeric DATETIME literal, which needs no quotes.

    >>> datetime_number(1684131300)
    20230515061500

    Raises:
        Hopeless: the time is not within the years 1000 to 9999, which MySQL stores; it takes 1-12-31 for 2001-12-31.
    """
    if not FIRST_S <= epoch_s <= LAST_S:
        raise Hopeless(f"end of period {epoch_s} is not between the years 1000 and 9999")
    return int(datetime.fromtimestamp(epoch_s, UTC).strftime("%Y%m%d%H%M%S"))


def text_literal(value: Any) -> Any:
    """Returns a text or JSON cell as a hexadecimal literal, so that no text can end its quotes.

    The literal names its character set because a JSON column accepts no binary strings.
    """
    if value is None:
        return None
    return orjson.Fragment(b"_utf8mb4 x'%s'" % (as_text(value) or "").encode().hex().encode())


def upserts(
    table: str,
    columns: Mapping[str, CounterColumn],
    chunk: Chunk,
    ids: Mapping[tuple[str, str], int],
    most_rows: int,
) -> Iterator[bytes]:
    """Yields INSERT .. ON DUPLICATE KEY UPDATE statements for the chunk's counters in one table.

    Rows are sorted by primary key, so that two writers rarely deadlock. The newer file wins per counter, and a counter
    that the newer file omits keeps its value. The version is assigned last because MySQL evaluates assignments from
    left to right. VALUES() is used because MariaDB does not support row aliases.
    """
    placed = [(columns[counter], values) for counter, values in chunk.counters.items() if counter in columns]
    cells = [map(text_literal, values) if column.kind in TEXT_KINDS else values for column, values in placed]
    keys = [(ts, ids[element, ldn], *others) for ts, element, ldn, *others in chunk.keys]
    rows = sorted(zip(*zip(*keys, strict=True), *cells, strict=True), key=lambda row: row[:3])
    names = [quoted_identifier(column.name) for column, _ in placed]
    head = f"INSERT INTO {quoted_identifier(table)} ({', '.join([*ROW_COLUMNS, *names])}) VALUES ".encode()
    tail = f" ON DUPLICATE KEY UPDATE {', '.join([*map(_newer_wins, names), *_LAST])}".encode()
    step = min(most_rows, max(1, CELLS_PER_STATEMENT // (len(names) + len(ROW_COLUMNS))))
    for at in range(0, len(rows), step):
        for body in _fitting(rows[at : at + step]):
            yield head + body + tail


def _fitting(rows: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """Renders rows, split until each piece is below BYTES_PER_STATEMENT or a single row."""
    body = sql_rows(rows)
    if len(body) <= BYTES_PER_STATEMENT or len(rows) == 1:
        yield body
        return
    middle = len(rows) // 2
    yield from _fitting(rows[:middle])
    yield from _fitting(rows[middle:])


_NEWER = "VALUES(ver) > ver OR VALUES(ver) = ver AND VALUES(parsed_s) >= parsed_s"
"""The incoming row is newer: of two parses of one file, the later one is, as units or names may have been corrected."""
_LAST = (
    f"suspect = IF({_NEWER}, VALUES(suspect), suspect)",
    f"parsed_s = IF({_NEWER}, VALUES(parsed_s), parsed_s)",
    "ver = GREATEST(ver, VALUES(ver))",
)


def _newer_wins(c: str) -> str:
    return f"{c} = IF({_NEWER}, COALESCE(VALUES({c}), {c}), COALESCE({c}, VALUES({c})))"


def sql_rows(rows: Sequence[Sequence[Any]]) -> bytes:
    """Returns rows of numbers, nulls and literals as SQL.

    orjson renders them 6 to 8 times cheaper than PyMySQL escapes them. No cell contains a bracket, as texts are
    hexadecimal (`text_literal`).
    """
    return orjson.dumps(rows)[1:-1].replace(b"[", b"(").replace(b"]", b")")
