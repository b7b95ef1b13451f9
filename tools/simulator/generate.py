"""PM files of pretend elements: names, rows, XML. Pure: the same parameters give the same file, at any time.

Shapes as in real files: mostly zeros, some values missing, some rows suspect, vectors, decimals; 4G in the compact
layout (measTypes/measResults), all others in the expanded one (measType p / r p) of 3GPP TS 32.435.
"""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from xml.sax.saxutils import quoteattr

Value = str | list[str | None] | None
"""The exact text of a scalar, the texts of a vector, or None for a missing one."""
LARGEST = 2**53 - 1
ZONES = ((0, "Z"), (60, "+01:00"), (60, "+0100"), (-300, "-05:00"))
"""Offsets in minutes, and ways elements write them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large the files are."""

    seed: int = 1
    cells: int = 3
    groups: int = 3
    counters: int = 20
    gp_s: int = 900


@dataclass(frozen=True, slots=True)
class TruthRow:
    """What must be stored of one measured object and period."""

    system: str
    group: str
    element: str
    """Distinguished name: dnPrefix and localDn."""
    object: str
    end_s: int
    gp_s: int
    suspect: bool
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Family:
    """What a generation of elements measures."""

    function: str
    groups: Sequence[tuple[str, str]]
    """measInfoId and the counters' stems."""
    compact: bool


LTE = Family(
    "ENodeBFunction=1",
    (
        (
            "EUtranCellFDD",
            "RRC.ConnEstabAtt.Sum RRC.ConnEstabSucc.Sum ERAB.EstabInitAttNbr ERAB.RelActNbr DRB.IPThpDl RRU.PrbTotDl",
        ),
        ("EUtranRelation", "HO.InterEnbOutPrepAtt HO.InterEnbOutPrepSucc HO.InterFreqOutAtt"),
        ("S1Link", "S1SIG.ConnEstabAtt S1SIG.ConnEstabSucc PAG.DiscardedNbr"),
    ),
    compact=True,
)
"""Counters of 3GPP TS 32.425."""
NR = Family(
    "GNBDUFunction=1",
    (
        ("NRCellDU", "DRB.UEThpDl DRB.UEThpUl RRU.PrbTotDl RRU.PrbTotUl CARR.WBCQIDist TB.TotNbrDl L1M.SS-RSRP"),
        ("NRCellCU", "RRC.ConnEstabAtt.mo-Data RRC.ConnEstabSucc.mo-Data SM.PDUSessionSetupReq MM.HoPrepInterReq"),
        ("GNBDUFunction", "DRB.RlcSduLatencyDl QosFlow.PdcpPduVolumeDl PEE.AvgPower"),
    ),
    compact=False,
)
"""Counters of 3GPP TS 28.552; every seventh a vector."""


def family_of(system: str) -> Family:
    """By the system's name: 4ga is 4G, all others are 5G."""
    return LTE if system.startswith("4") else NR


@dataclass(frozen=True, slots=True)
class PmFile:
    """A file as an element writes it, and the truth of it."""

    name: str
    rows: Sequence[TruthRow]
    xml: bytes

    @property
    def packed(self) -> bytes:
        return gzip.compress(self.xml, 6, mtime=0)

    @property
    def values(self) -> int:
        return sum(value is not None for row in self.rows for value in row.values.values())


def pm_file(shape: Shape, system: str, element: str, end_s: int) -> PmFile:
    """The file of one element and period."""
    random = Random(f"{shape.seed}/{system}/{element}/{end_s}")  # noqa: S311 - it must be predictable
    zone_min, zone = ZONES[Random(element).randrange(len(ZONES))]  # noqa: S311
    rows = list(_rows(random, shape, system, element, end_s))
    return PmFile(
        _name(element, end_s, shape.gp_s, zone_min), rows, _xml(system, element, rows, shape, _Clock(zone_min, zone))
    )


def prefix(system: str) -> str:
    """DnPrefix (3GPP TS 32.300): where the elements stand in the network."""
    return f"DC=operator.example,SubNetwork={system}"


def counters(family: Family, group: int, many: int) -> tuple[str, list[str]]:
    """A group's measInfoId and counters; any number of both, by numbering on."""
    name, known = family.groups[group % len(family.groups)]
    stems = known.split()
    round_ = group // len(family.groups)
    names = [stems[n % len(stems)] + (f".{n // len(stems)}" if n >= len(stems) else "") for n in range(many)]
    return (f"{name}{round_}" if round_ else name), names


def _rows(random: Random, shape: Shape, system: str, element: str, end_s: int) -> Iterator[TruthRow]:
    family = family_of(system)
    for number in range(shape.groups):
        group, names = counters(family, number, shape.counters)
        vectors = {name for n, name in enumerate(names) if n % 7 == 6 and not family.compact}
        for cell in range(1, shape.cells + 1):
            ldn = f"ManagedElement={element},{family.function},{group}={cell}"
            values = {name: _vector(random) if name in vectors else _scalar(random) for name in names}
            suspect = random.random() < 0.015
            yield TruthRow(system, group, f"{prefix(system)},{element}", ldn, end_s, shape.gp_s, suspect, values)


def _scalar(random: Random) -> str | None:
    chance = random.random()
    if chance < 0.78:
        return "0"
    if chance < 0.80:
        return None
    if chance < 0.92:
        return str(random.randrange(1, 1000))
    if chance < 0.96:
        return str(random.randrange(1000, 10**9))
    return (
        f"{random.random() * 1000:.{random.choice((1, 3, 6))}f}"
        if chance < 0.99
        else str(LARGEST - random.randrange(9))
    )


def _vector(random: Random) -> Value:
    if random.random() < 0.05:
        return None
    return ["0" if random.random() < 0.8 else str(random.randrange(1, 5000)) for _ in range(random.choice((3, 12, 17)))]


@dataclass(frozen=True, slots=True)
class _Clock:
    """Times as the element writes them."""

    offset_min: int
    zone: str

    def time(self, epoch_s: int) -> str:
        local = datetime.fromtimestamp(epoch_s, UTC) + timedelta(minutes=self.offset_min)
        return f"{local:%Y-%m-%dT%H:%M:%S}{self.zone}"


def _name(element: str, end_s: int, gp_s: int, zone_min: int) -> str:
    """3GPP TS 32.432 clause 5.1.2, type A."""
    zone = timezone(timedelta(minutes=zone_min))
    begin, end = (datetime.fromtimestamp(s, zone) for s in (end_s - gp_s, end_s))
    end_date = "" if begin.date() == end.date() else f"{end:%Y%m%d}."
    return f"A{begin:%Y%m%d.%H%M%z}-{end_date}{end:%H%M%z}_{element}.xml.gz"


def _xml(system: str, element: str, rows: Sequence[TruthRow], shape: Shape, clock: _Clock) -> bytes:
    """3GPP TS 32.435 annex A."""
    family, end_s = family_of(system), rows[0].end_s
    begin, end = clock.time(end_s - shape.gp_s), clock.time(end_s)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<?xml-stylesheet type="text/xsl" href="MeasDataCollection.xsl"?>',
        '<measCollecFile xmlns="http://www.3gpp.org/ftp/specs/archive/32_series/32.435#measCollec">',
        f'<fileHeader fileFormatVersion="32.435 V10.0" vendorName="pmflow" dnPrefix={quoteattr(prefix(system))}>',
        f'<fileSender localDn={quoteattr(element)} elementType="{family.function.split("Function")[0]}"/>',
        f'<measCollec beginTime="{begin}"/>',
        "</fileHeader>",
        "<measData>",
        f'<managedElement localDn={quoteattr(element)} swVersion="1.0"/>',
    ]
    for at in range(0, len(rows), shape.cells):
        of_group = rows[at : at + shape.cells]
        lines += [
            f"<measInfo measInfoId={quoteattr(of_group[0].group)}>",
            '<job jobId="1"/>',
            f'<granPeriod duration="PT{shape.gp_s}S" endTime="{end}"/>',
            f'<repPeriod duration="PT{shape.gp_s}S"/>',
            *(_compact(of_group) if family.compact else _expanded(of_group)),
            "</measInfo>",
        ]
    lines += ["</measData>", f'<fileFooter><measCollec endTime="{end}"/></fileFooter>', "</measCollecFile>", ""]
    return "\n".join(lines).encode()


def _compact(rows: Sequence[TruthRow]) -> Iterator[str]:
    yield f"<measTypes>{' '.join(rows[0].values)}</measTypes>"
    for row in rows:
        yield f"<measValue measObjLdn={quoteattr(row.object)}>"
        yield f"<measResults>{' '.join(_text(value, missing='NIL') for value in row.values.values())}</measResults>"
        yield from _end(row)


def _expanded(rows: Sequence[TruthRow]) -> Iterator[str]:
    for p, name in enumerate(rows[0].values, 1):
        yield f'<measType p="{p}">{name}</measType>'
    for row in rows:
        yield f"<measValue measObjLdn={quoteattr(row.object)}>"
        for p, value in enumerate(row.values.values(), 1):
            yield f'<r p="{p}">{_text(value, missing=" ")}</r>'
        yield from _end(row)


def _end(row: TruthRow) -> Iterator[str]:
    if row.suspect:
        yield "<suspect>true</suspect>"
    yield "</measValue>"


def _text(value: Value, *, missing: str) -> str:
    if isinstance(value, list):
        return ",".join(part or "" for part in value)
    return missing if value is None else value
