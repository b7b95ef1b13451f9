"""Holds rows as JSON text until the whole file is read, grouped by element, measurement group and period."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson

from services.fetcher.rows.spool import HeldText, Spool, size_of, text_of

ROW_END = b",\n"
"""Separates the rows of a text. The text is JSON as it stands; no JSON string holds a line end, so it can be split."""


@dataclass(frozen=True, slots=True)
class CounterColumns:
    """The job and the counter names that rows have in common."""

    job: str
    counters: tuple[str, ...]

    @property
    def has_repeats(self) -> bool:
        """True if a counter is named more than once."""
        return len(set(self.counters)) < len(self.counters)


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows with the same counter columns."""

    held: HeldText
    height: int
    """Number of rows."""
    values: int
    """Number of cells that hold a value."""
    objects: "array[int]"
    """A hash of each row's object: enough to see that no object comes twice."""

    @classmethod
    def from_lines(cls, objects: Iterable[str], lines: list[str], values: int, spool: Spool | None = None) -> "Rows":
        """Joins rows into one text and puts it into the spool, if one is given."""
        text = ",\n".join(lines).encode()
        return cls(spool.put(text) if spool else text, len(lines), values, array("q", map(hash, objects)))

    @property
    def text(self) -> bytes:
        return text_of(self.held)

    @property
    def size(self) -> int:
        """Length of the text in bytes."""
        return size_of(self.held)


@dataclass(frozen=True, slots=True)
class PeriodKey:
    """One measurement group of one element in one period. Each object has one row here: sinks replace whole rows."""

    element: str
    group: str
    gp_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class PeriodRows:
    """All rows of one key, in the order of the file."""

    end_offset_min: int
    parts: list[tuple[CounterColumns, Rows]] = field(default_factory=list)

    def is_contested(self) -> bool:
        """Returns True if a counter of an object may have come twice (or two objects share a hash)."""
        seen: set[int] = set()
        height = 0
        for _, rows in self.parts:
            seen.update(rows.objects)
            height += rows.height
        return len(seen) < height or any(columns.has_repeats for columns in {columns for columns, _ in self.parts})


def values_in(lines: list[bytes]) -> int:
    """Counts the cells that hold a value."""
    rows = map(orjson.loads, lines)
    return sum(len(row) - row.count(None) - 2 for row in rows)


def packed(parts: Iterable[Rows], max_bytes: int) -> Iterator[Rows]:
    """Joins and splits rows into texts of at most `max_bytes` bytes; the new texts are not in any spool.

    Raises:
        ValueError: a single row is longer.
    """
    texts: list[bytes] = []
    size = height = values = 0
    for rows in _split_large(parts, max_bytes):
        if texts and size + rows.size > max_bytes:
            yield Rows(ROW_END.join(texts), height, values, array("q"))
            texts, size, height, values = [], 0, 0, 0
        texts.append(rows.text)
        size += rows.size + len(ROW_END)
        height += rows.height
        values += rows.values
    if texts:
        yield Rows(ROW_END.join(texts), height, values, array("q"))


def _split_large(parts: Iterable[Rows], max_bytes: int) -> Iterator[Rows]:
    """Yields texts that fit as they are and splits longer ones into single rows."""
    for rows in parts:
        if rows.size <= max_bytes:
            yield rows
            continue
        for line in rows.text.split(ROW_END):
            if len(line) > max_bytes:
                raise ValueError(f"a row of {len(line)} bytes does not fit into a message")
            yield Rows(line, 1, values_in([line]), array("q"))
