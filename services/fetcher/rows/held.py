"""Rows kept until the whole file is read: as JSON text, grouped by what may not be split or doubled."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson

from services.fetcher.rows.spool import Spool, Text, size_of, text_of

ROW_END = b",\n"
"""Between the lines of a text: JSON as it stands, and no JSON string holds a line end, so it can be split again."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What rows have in common besides their key."""

    job: str
    counters: tuple[str, ...]
    repeat: bool
    """Some counter is there twice."""

    @classmethod
    def of(cls, job: str, counters: tuple[str, ...]) -> "Columns":
        return cls(job, counters, len(set(counters)) < len(counters))


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of the same columns."""

    held: Text
    height: int
    values: int
    objects: "array[int]"
    """A hash of each row's object: enough to see that none comes twice."""

    @classmethod
    def of(cls, objects: Iterable[str], lines: list[str], values: int, spool: Spool | None = None) -> "Rows":
        text = ",\n".join(lines).encode()
        return cls(spool.put(text) if spool else text, len(lines), values, array("q", map(hash, objects)))

    @property
    def text(self) -> bytes:
        return text_of(self.held)

    @property
    def size(self) -> int:
        return size_of(self.held)


@dataclass(frozen=True, slots=True)
class Key:
    """A row is one object's at one key: sinks replace whole rows."""

    element: str
    group: str
    gp_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class Table:
    """All rows of a key, in the order of the file."""

    end_offset_min: int
    parts: list[tuple[Columns, Rows]] = field(default_factory=list)

    def is_contested(self) -> bool:
        """Whether a counter of an object may have come twice (or two objects share a hash)."""
        seen: set[int] = set()
        height = 0
        for _, rows in self.parts:
            seen.update(rows.objects)
            height += rows.height
        return len(seen) < height or any(columns.repeat for columns, _ in self.parts)


def values_in(lines: list[bytes]) -> int:
    """Cells with a value."""
    rows = map(orjson.loads, lines)
    return sum(len(row) - row.count(None) - 2 for row in rows)


def packed(parts: Iterable[Rows], room: int) -> Iterator[Rows]:
    """The same rows in texts of at most `room` bytes, which nobody holds yet.

    Raises:
        ValueError: a single row is longer.
    """
    texts: list[bytes] = []
    size = height = values = 0
    for rows in _cut(parts, room):
        if texts and size + rows.size > room:
            yield Rows(ROW_END.join(texts), height, values, array("q"))
            texts, size, height, values = [], 0, 0, 0
        texts.append(rows.text)
        size += rows.size + len(ROW_END)
        height += rows.height
        values += rows.values
    if texts:
        yield Rows(ROW_END.join(texts), height, values, array("q"))


def _cut(parts: Iterable[Rows], room: int) -> Iterator[Rows]:
    """Texts that are too long by themselves, row by row."""
    for rows in parts:
        if rows.size <= room:
            yield rows
            continue
        for line in rows.text.split(ROW_END):
            if len(line) > room:
                raise ValueError(f"a row of {len(line)} bytes does not fit into a message")
            yield Rows(line, 1, values_in([line]), array("q"))
