"""Takes the values of counters without a name out of rows, so that they cost no other counter."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.fetcher.parse.values.cells import NULL
from services.fetcher.rows.held import ROW_END, Rows
from services.fetcher.rows.line import CELL, row_parts

_NULL = NULL.encode()


@dataclass(frozen=True, slots=True)
class NamelessValue:
    """A value of a counter without a name; object and value are JSON."""

    object: bytes
    column: int
    """Position of the counter among those of its measInfo, beginning with 1."""
    value: bytes


def split_nameless(counters: tuple[str, ...], rows: Iterable[Rows]) -> Iterator[tuple[Rows, list[NamelessValue]]]:
    """Yields rows without the cells of nameless counters, in which there is nothing if no counter has a name.

    Raises:
        BrokenRow: a row does not have the parser's syntax.
    """
    nameless = [at for at, name in enumerate(counters) if not name]
    named = [at for at, name in enumerate(counters) if name]
    for part in rows:
        values: list[NamelessValue] = []
        lines: list[bytes] = []
        for line in part.text.split(ROW_END):
            name, suspect, text = row_parts(line)
            cells = CELL.findall(text)
            values += [NamelessValue(name, at + 1, cells[at]) for at in nameless if cells[at] != _NULL]
            lines.append(b"[" + b",".join((name, suspect, *(cells[at] for at in named))) + b"]")
        left = Rows(ROW_END.join(lines), part.height, part.values - len(values), part.objects)
        yield left if named else Rows(b"", 0, 0, array("q")), values
