"""The same object in several blocks of a file becomes one row; a counter that comes twice is kept once."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from services.fetcher.rows.held import ROW_END, Columns, Rows, values_in
from services.fetcher.rows.line import CELL, LINE, OBJECT

_NULL = b"null"
TURN_BYTES = 8 << 20
"""Of rows that are merged at once, about."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row in its parts, all of them JSON."""

    columns: Columns
    suspect: bytes
    cells: bytes

    def by_counter(self) -> Iterator[tuple[str, bytes]]:
        """A counter may be there twice."""
        return zip(self.columns.counters, CELL.findall(self.cells), strict=True)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two different values of one counter of one object; each as JSON."""

    object: bytes
    counter: str
    kept: bytes
    aside: bytes


@dataclass(slots=True)
class Merged:
    """What became of a contested table, or of some of its objects."""

    parts: list[tuple[Columns, Rows]] = field(default_factory=list)
    duplicates: int = 0
    """Values that came again, equal to the one kept."""
    conflicts: list[Conflict] = field(default_factory=list)


def merged(parts: list[tuple[Columns, Rows]], turn_bytes: int = TURN_BYTES) -> Iterator[Merged]:
    """One row for each object, complete; of a counter that comes twice, the first value that is one.

    A large table in several turns, some of its objects in each: what one holds in memory is bounded.
    """
    turns = 1 + sum(rows.size for _, rows in parts) // turn_bytes
    for turn in range(turns):
        yield _merged(parts, turn, turns)


def _merged(parts: list[tuple[Columns, Rows]], turn: int, turns: int) -> Merged:
    objects: dict[bytes, list[Line]] = {}
    shared: dict[Columns, Columns] = {}
    for columns, rows in parts:
        for name, line in _lines(shared.setdefault(columns, columns), rows, turn, turns):
            objects.setdefault(name, []).append(line)
    alike: dict[tuple[int, ...], list[tuple[bytes, list[Line]]]] = {}
    for name, lines in objects.items():
        alike.setdefault(tuple(id(line.columns) for line in lines), []).append((name, lines))
    result = Merged()
    for members in alike.values():
        sources = [line.columns for line in members[0][1]]
        counters = tuple(dict.fromkeys(chain.from_iterable(source.counters for source in sources)))
        columns = Columns.of(",".join(dict.fromkeys(source.job for source in sources if source.job)), counters)
        are_apart = len(counters) == sum(len(source.counters) for source in sources)
        texts = [_one(name, lines, result, are_apart=are_apart) for name, lines in members]
        result.parts.append((columns, _rows(texts)))
    return result


def _one(name: bytes, lines: list[Line], result: Merged, *, are_apart: bool) -> bytes:
    suspect = max(line.suspect for line in lines)
    if are_apart:
        return _row(name, suspect, [line.cells for line in lines if line.cells])
    kept: dict[str, bytes] = {}
    for line in lines:
        for counter, cell in line.by_counter():
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


def _rows(lines: list[bytes]) -> Rows:
    return Rows(ROW_END.join(lines), len(lines), values_in(lines), array("q"))


def _lines(columns: Columns, rows: Rows, turn: int, turns: int) -> Iterator[tuple[bytes, Line]]:
    for text in rows.text.split(ROW_END):
        if turns > 1 and _turn_of(text, turns) != turn:
            continue
        found = LINE.fullmatch(text)
        assert found, text  # our own text
        yield found[1], Line(columns, found[2], found[3] or b"")


def _turn_of(text: bytes, turns: int) -> int:
    """By the object, which begins the row."""
    name = OBJECT.match(text)
    assert name, text
    return hash(name[0]) % turns
