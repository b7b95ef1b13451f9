"""Merges the rows of an object that comes in several blocks of a file; a counter that comes twice is kept once."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from services.fetcher.rows.held import ROW_END, CounterColumns, Rows, values_in
from services.fetcher.rows.line import CELL, row_parts, row_start

_NULL = b"null"
TURN_BYTES = 8 << 20
"""About how many bytes of rows are merged at once."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One of the rows that are merged, split into JSON texts."""

    columns: CounterColumns
    suspect: bytes
    cells: bytes

    def by_counter(self) -> Iterator[tuple[str, bytes]]:
        """Yields counters and their cells; a counter may come twice."""
        return zip(self.columns.counters, CELL.findall(self.cells), strict=True)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two different values of one counter of one object, as JSON."""

    object: bytes
    counter: str
    kept: bytes
    quarantined: bytes


@dataclass(slots=True)
class Merged:
    """The result for a contested table, or for some of its objects."""

    parts: list[tuple[CounterColumns, Rows]] = field(default_factory=list)
    duplicates: int = 0
    """Values that came again and equal the one that was kept."""
    conflicts: list[Conflict] = field(default_factory=list)


def merged(parts: list[tuple[CounterColumns, Rows]], turn_bytes: int = TURN_BYTES) -> Iterator[Merged]:
    """Yields one complete row for each object; of a counter that comes twice, the first value that is not null.

    A large table is merged in several turns, each for some of its objects, so that memory stays bounded.

    Raises:
        BrokenRow: a row does not have the parser's syntax.
    """
    turns = 1 + sum(rows.size for _, rows in parts) // turn_bytes
    for turn in range(turns):
        yield _merged_turn(parts, turn, turns)


def _merged_turn(parts: list[tuple[CounterColumns, Rows]], turn: int, turns: int) -> Merged:
    objects: dict[bytes, list[SourceRow]] = {}
    shared: dict[CounterColumns, CounterColumns] = {}
    for columns, rows in parts:
        for name, row in _source_rows(shared.setdefault(columns, columns), rows, turn, turns):
            objects.setdefault(name, []).append(row)
    alike: dict[tuple[int, ...], list[tuple[bytes, list[SourceRow]]]] = {}
    for name, sources in objects.items():
        alike.setdefault(tuple(id(row.columns) for row in sources), []).append((name, sources))
    result = Merged()
    for members in alike.values():
        all_columns = [row.columns for row in members[0][1]]
        counters = tuple(dict.fromkeys(chain.from_iterable(columns.counters for columns in all_columns)))
        merged_columns = CounterColumns(
            ",".join(dict.fromkeys(columns.job for columns in all_columns if columns.job)), counters
        )
        are_disjoint = len(counters) == sum(len(columns.counters) for columns in all_columns)
        texts = [_merged_row(name, sources, result, are_disjoint=are_disjoint) for name, sources in members]
        result.parts.append((merged_columns, Rows(ROW_END.join(texts), len(texts), values_in(texts), array("q"))))
    return result


def _merged_row(name: bytes, sources: list[SourceRow], result: Merged, *, are_disjoint: bool) -> bytes:
    """Returns the row of one object; adds its duplicates and conflicts to the result."""
    suspect = max(row.suspect for row in sources)
    if are_disjoint:
        return _row(name, suspect, [row.cells for row in sources if row.cells])
    kept: dict[str, bytes] = {}
    for row in sources:
        for counter, cell in row.by_counter():
            first = kept.get(counter, _NULL)
            if first == _NULL:
                kept[counter] = cell
            elif cell == first:
                result.duplicates += 1
            elif cell != _NULL:
                result.conflicts.append(Conflict(name, counter, first, cell))
    return _row(name, suspect, list(kept.values()))


def _row(name: bytes, suspect: bytes, cells: list[bytes]) -> bytes:
    return b"[" + b",".join((name, suspect, *cells)) + b"]"


def _source_rows(columns: CounterColumns, rows: Rows, turn: int, turns: int) -> Iterator[tuple[bytes, SourceRow]]:
    for text in rows.text.split(ROW_END):
        if turns == 1 or hash(row_start(text)) % turns == turn:
            name, suspect, cells = row_parts(text)
            yield name, SourceRow(columns, suspect, cells)
