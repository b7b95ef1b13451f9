"""Renders the XML of a PM file (3GPP TS 32.435 annex A) in the compact or the expanded layout. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from tools.simulator.truth_row import TruthRow, Value


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The data that occur once in a file; begin and end are in the time notation of the element."""

    dn_prefix: str
    element: str
    element_type: str
    begin: str
    end: str
    gp_s: int


def document(header: FileHeader, rows: Sequence[TruthRow], *, compact: bool) -> bytes:
    """Returns a file with these rows, which must be ordered by group."""
    element = quoteattr(header.element)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<?xml-stylesheet type="text/xsl" href="MeasDataCollection.xsl"?>',
        '<measCollecFile xmlns="http://www.3gpp.org/ftp/specs/archive/32_series/32.435#measCollec">',
        f'<fileHeader fileFormatVersion="32.435 V10.0" vendorName="pmflow" dnPrefix={quoteattr(header.dn_prefix)}>',
        f'<fileSender localDn={element} elementType="{header.element_type}"/>',
        f'<measCollec beginTime="{header.begin}"/>',
        "</fileHeader>",
        "<measData>",
        f'<managedElement localDn={element} swVersion="1.0"/>',
    ]
    for group, found in groupby(rows, key=lambda row: row.group):
        of_group = list(found)
        lines += [
            f"<measInfo measInfoId={quoteattr(group)}>",
            '<job jobId="1"/>',
            f'<granPeriod duration="PT{header.gp_s}S" endTime="{header.end}"/>',
            f'<repPeriod duration="PT{header.gp_s}S"/>',
            *(_compact(of_group) if compact else _expanded(of_group)),
            "</measInfo>",
        ]
    lines += ["</measData>", f'<fileFooter><measCollec endTime="{header.end}"/></fileFooter>', "</measCollecFile>", ""]
    return "\n".join(lines).encode()


def _compact(rows: Sequence[TruthRow]) -> Iterator[str]:
    yield f"<measTypes>{escape(' '.join(rows[0].values))}</measTypes>"
    for row in rows:
        yield f"<measValue measObjLdn={quoteattr(row.object)}>"
        yield f"<measResults>{' '.join(_text(value, missing='NIL') for value in row.values.values())}</measResults>"
        yield from _end(row)


def _expanded(rows: Sequence[TruthRow]) -> Iterator[str]:
    for p, name in enumerate(rows[0].values, 1):
        yield f'<measType p="{p}">{escape(name)}</measType>'
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
        return ",".join("" if part is None else part for part in value)
    return missing if value is None else value
