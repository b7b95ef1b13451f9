"""Generates PM files: names, rows, bytes. Pure: the same parameters always give the same file.

The values resemble real files: mostly zeros, some missing, some suspect rows, vectors, decimals, a few very large
integers.
"""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from random import Random

from tools.simulator.families import Family, MeasurementGroup, family_of, measurement_group
from tools.simulator.layouts import FileHeader, document
from tools.simulator.truth_row import TruthRow, Value

LARGEST = 2**53 - 1
"""The largest integer that a double, and therefore every JSON reader, represents exactly."""
ZONES = ((0, "Z"), (60, "+01:00"), (60, "+0100"), (-300, "-05:00"))
"""Time zone offsets in minutes, and the notations that elements use for them."""
VECTOR_LENGTHS = (3, 12, 17, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of the files."""

    seed: int = 1
    cells: int = 3
    groups: int = 3
    counters: int = 20
    gp_s: int = 900

    def __post_init__(self) -> None:
        if min(self.cells, self.groups, self.counters, self.gp_s) < 1:
            raise ValueError(f"{self}: cells, groups, counters and gp_s must be at least 1")
        if self.gp_s % 60:
            raise ValueError(f"gp_s is {self.gp_s}: must be whole minutes, because file names contain no seconds")


@dataclass(frozen=True)
class PmFile:
    """A file as an element writes it, and its true content."""

    shape: Shape
    system: str
    element: str
    end_s: int
    kind: str
    name: str
    rows: Sequence[TruthRow]
    """The rows that a parser can read."""
    xml: bytes

    @cached_property
    def packed(self) -> bytes:
        """The gzipped file. The bytes are always the same, because they contain no time stamp."""
        return gzip.compress(self.xml, 6, mtime=0)

    @property
    def values(self) -> int:
        return sum(row.present for row in self.rows)


def pm_file(shape: Shape, system: str, element: str, end_s: int, kind: str = "") -> PmFile:
    """Returns the file of one element and period.

    Args:
        shape: size of the file.
        system: system of the element.
        element: name of the element.
        end_s: end of the period.
        kind: corrected (other values), suspect (all rows), renamed, duplicate (second name) or corrupt (truncated).
    """
    family = family_of(system)
    zone_min, zone = ZONES[Random(element).randrange(len(ZONES))]  # noqa: S311 - it must be predictable
    begin, end = (_time(epoch_s, zone_min, zone) for epoch_s in (end_s - shape.gp_s, end_s))
    values = replace(shape, seed=shape.seed + 1) if kind == "corrected" else shape
    rows = list(_rows(values, system, element, end_s))
    if kind == "suspect":
        rows = [replace(row, suspect=True) for row in rows]
    header = FileHeader(dn_prefix(system), element, family.element_type, begin, end, shape.gp_s)
    xml = document(header, rows, compact=family.compact)
    if kind == "corrupt":
        rows, xml = [], xml[: len(xml) // 2]
    name = _named(file_name(element, end_s, shape.gp_s, zone_min), kind)
    return PmFile(shape, system, element, end_s, kind, name, rows, xml)


def _named(name: str, kind: str) -> str:
    if kind == "renamed":
        return f"copy of {name}"
    return name.replace(".xml", "_-_2.xml") if kind == "duplicate" else name


def dn_prefix(system: str) -> str:
    """Returns the dnPrefix (3GPP TS 32.300): the position of a system's elements in the network."""
    return f"DC=operator.example,SubNetwork={system}"


def file_name(element: str, end_s: int, gp_s: int, zone_min: int) -> str:
    """Returns a file name of type A (3GPP TS 32.432 clause 5.1.2): one element, one period.

    >>> file_name("5ga-001", 1795526100, 900, 60)
    'A20261124.1400+0100-1415+0100_5ga-001.xml.gz'
    >>> file_name("5ga-001", 1795478400, 900, 0)
    'A20261123.2345+0000-20261124.0000+0000_5ga-001.xml.gz'
    """
    zone = timezone(timedelta(minutes=zone_min))
    begin, end = (datetime.fromtimestamp(epoch_s, zone) for epoch_s in (end_s - gp_s, end_s))
    end_date = "" if begin.date() == end.date() else f"{end:%Y%m%d}."
    return f"A{begin:%Y%m%d.%H%M%z}-{end_date}{end:%H%M%z}_{element}.xml.gz"


def _time(epoch_s: int, zone_min: int, zone: str) -> str:
    local = datetime.fromtimestamp(epoch_s, UTC) + timedelta(minutes=zone_min)
    return f"{local:%Y-%m-%dT%H:%M:%S}{zone}"


def _rows(shape: Shape, system: str, element: str, end_s: int) -> Iterator[TruthRow]:
    random = Random(f"{shape.seed}/{system}/{element}/{end_s}")  # noqa: S311 - it must be predictable
    family, name = family_of(system), f"{dn_prefix(system)},{element}"
    for number in range(shape.groups):
        measured = measurement_group(family, number, shape.counters)
        wide = vectors(family, measured)
        for cell in range(1, shape.cells + 1):
            ldn = f"ManagedElement={element},{measured.object.format(cell)}"
            values = {c: _vector(random) if c in wide else _scalar(random) for c in measured.counters}
            suspect = random.random() < 0.015
            yield TruthRow(system, name, measured.name, ldn, end_s, shape.gp_s, suspect, values)


def vectors(family: Family, measured: MeasurementGroup) -> set[str]:
    """Returns the counters whose values are vectors."""
    every = family.vector_every
    return {counter for n, counter in enumerate(measured.counters, 1) if every and n % every == 0}


def _scalar(random: Random) -> str | None:
    chance = random.random()
    if chance < 0.78:
        return "0"
    if chance < 0.80:
        return None
    if chance < 0.91:
        return str(random.randrange(1, 1000))
    if chance < 0.95:
        return str(random.randrange(1000, 10**9))
    if chance < 0.99:
        return f"{random.uniform(-150, 1000):.{random.choice((1, 3, 6))}f}"
    return str(LARGEST - random.randrange(9))


def _vector(random: Random) -> Value:
    if random.random() < 0.02:
        return None
    first = str(random.randrange(5000))  # never blank: an all-blank vector would count as a missing value
    return [first, *(_part(random) for _ in range(random.choice(VECTOR_LENGTHS) - 1))]


def _part(random: Random) -> str | None:
    chance = random.random()
    if chance < 0.80:
        return "0"
    return str(random.randrange(1, 5000)) if chance < 0.98 else None
