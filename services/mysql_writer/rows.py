"""Batches of counters into the text of SQL statements. Pure: no database in here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson

from shared.errors import Hopeless
from shared.messages import CounterBatch
from shared.sinks.values import Kind, as_text

CELLS_PER_STATEMENT = 100_000
"""About 1 MB of numbers."""
BYTES_PER_STATEMENT = 2_000_000
"""Well under the smallest max_allowed_packet in use (4 MB)."""
AS_TEXT: frozenset[Kind] = frozenset({"text", "vector"})


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one group with the same counters, columnar, from any number of files; a key may come twice."""

    system: str
    group: str
    keys: list[tuple[int, str, str, int, int, int]]
    """ts (as YYYYMMDDhhmmss), element, ldn, gp_s, suspect, ver: one a row."""
    counters: Mapping[str, list[Any]]
    """Only those with a value in at least one row."""
    types: Mapping[str, str]
    units: Mapping[str, str]
    """What the counter dictionary says of them."""


def chunks(batches: Iterable[CounterBatch]) -> Iterator[Chunk]:
    """Batches that fit one statement together.

    Raises:
        Hopeless: a row has not one value for each counter, or a time that is none.
    """

    def alike(batch: CounterBatch) -> tuple[str, str, list[str]]:
        return batch.system, batch.group, batch.counters

    for (system, group, counters), some in groupby(sorted(batches, key=alike), key=alike):
        keys: list[tuple[int, str, str, int, int, int]] = []
        rows: list[list[Any]] = []
        types: dict[str, str] = {}
        units: dict[str, str] = {}
        for batch in some:
            ts = datetime_number(batch.end_s)
            keys += [(ts, batch.element, row[0], batch.gp_s, row[1], batch.ver) for row in batch.rows]
            rows += batch.rows
            types |= batch.types
            units |= batch.units
        try:
            columns = list(zip(*rows, strict=True))[2:]
            named = list(zip(counters, columns, strict=True))
        except ValueError as error:
            raise Hopeless(f"{group}: a row has not one value for each counter") from error
        with_values = {name: list(column) for name, column in named if any(v is not None for v in column)}
        yield Chunk(system, group, keys, with_values, types, units)


def datetime_number(epoch_s: int) -> int:
    """UTC as MySQL's numeric DATETIME literal, which needs no quotes.

    >>> datetime_number(1684131300)
    20230515061500

    Raises:
        Hopeless: no time of the years 1 to 9999.
    """
    try:
        return int(datetime.fromtimestamp(epoch_s, UTC).strftime("%Y%m%d%H%M%S"))
    except (ValueError, OverflowError, OSError) as error:
        raise Hopeless(f"end of period {epoch_s}: {error}") from error


def text_literal(value: Any) -> Any:
    """A cell of text or JSON: a hexadecimal literal, so that no text can ever end its quotes; JSON takes no binary."""
    if value is None:
        return None
    return orjson.Fragment(b"_utf8mb4 x'%s'" % (as_text(value) or "").encode().hex().encode())


@dataclass(frozen=True, slots=True)
class Column:
    """Where a counter lives."""

    table: str
    name: str
    kind: Kind


def upserts(
    table: str, columns: Mapping[str, Column], chunk: Chunk, ids: Mapping[tuple[str, str], int], most_rows: int
) -> Iterator[bytes]:
    """INSERT .. ON DUPLICATE KEY UPDATE statements of a chunk's counters in one table.

    Sorted by primary key, so that two writers seldom end in a deadlock.

    Per counter the newer file wins, and what a newer one leaves out stays; `ver` is assigned last, since MySQL
    evaluates from left to right. VALUES() because MariaDB knows no row alias.
    """
    placed = [(columns[counter], values) for counter, values in chunk.counters.items() if counter in columns]
    cells = [map(text_literal, values) if column.kind in AS_TEXT else values for column, values in placed]
    keys = [(ts, ids[element, ldn], gp_s, suspect, ver) for ts, element, ldn, gp_s, suspect, ver in chunk.keys]
    rows = sorted(zip(*zip(*keys, strict=True), *cells, strict=True), key=lambda row: row[:3])
    names = [quoted(column.name) for column, _ in placed]
    head = (
        f"INSERT INTO {quoted(table)} ({', '.join(['ts', 'obj', 'gp_s', 'suspect', 'ver', *names])}) VALUES ".encode()
    )
    tail = f" ON DUPLICATE KEY UPDATE {', '.join([*map(_newer_wins, names), _SUSPECT, _VER])}".encode()
    step = min(most_rows, max(1, CELLS_PER_STATEMENT // (len(names) + 5)))
    for at in range(0, len(rows), step):
        for body in _fitting(rows[at : at + step]):
            yield head + body + tail


def _fitting(rows: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """Long texts need fewer rows a statement."""
    body = sql_rows(rows)
    if len(body) <= BYTES_PER_STATEMENT or len(rows) == 1:
        yield body
        return
    middle = len(rows) // 2
    yield from _fitting(rows[:middle])
    yield from _fitting(rows[middle:])


_SUSPECT = "suspect = IF(VALUES(ver) >= ver, VALUES(suspect), suspect)"
_VER = "ver = GREATEST(ver, VALUES(ver))"


def _newer_wins(c: str) -> str:
    return f"{c} = IF(VALUES(ver) >= ver, COALESCE(VALUES({c}), {c}), COALESCE({c}, VALUES({c})))"


def sql_rows(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows of numbers, nulls and literals as SQL: orjson renders them 6-8x cheaper than PyMySQL escapes them.

    No row holds a bracket of its own: texts are hexadecimal (`text_literal`).
    """
    return orjson.dumps(rows)[1:-1].replace(b"[", b"(").replace(b"]", b")")


def quoted(name: str) -> str:
    """An identifier."""
    return "`" + name.replace("`", "``") + "`"
