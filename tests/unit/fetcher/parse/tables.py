"""Generates vendors' tables with Hypothesis: complete tables in any layout that the shipped profiles know."""

import csv
import io
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.unit.fetcher.parse.documents import MISSING, NUMBERS, ODD_NUMBERS, TEXTS, VECTORS


@dataclass(frozen=True)
class Vendor:
    """The possible layouts of a profile's tables."""

    profile: str
    columns: tuple[str, ...]
    times: tuple[tuple[str, ...], ...]
    """Names of the first columns: begin or end, or both, and the period."""
    objects: tuple[tuple[str, ...], ...]
    """Names of the columns behind them."""
    missing: tuple[str, ...]
    units: bool = False


VENDORS = (
    Vendor(
        "huawei-pmresult",
        ("Result Time", "Granularity Period", "Object Name", "Reliability"),
        (("2020-05-18 16:00", "15"), ("2020-05-18 16:15 DST", "15"), ("2020-05-18 17:00+08:00", "60")),
        (
            ("N1/Cell:eNodeB Function Name=N1, Local Cell ID=1", "Reliable"),
            ("N1/Cell:eNodeB Function Name=N1, Local Cell ID=2", "Unreliable"),
            ("Größe/Cell:Local Cell ID=1", "reliable "),
            ("N2", ""),
        ),
        ("NIL", "/0", "#DIV/0!"),
        units=True,
    ),
    Vendor(
        "zte",
        ("Begin Time", "End Time", "Granularity", "SubNetwork ID", "ManagedElement ID", "Cell ID", "Index"),
        (
            ("2020-05-18 16:00:00", "2020-05-18 16:15:00", "15 Minute(s)"),
            ("20200518161500", "20200518163000", ""),
            ("2020-05-18T16:00:00Z", "2020-05-18T17:00:00Z", "1 hour"),
        ),
        (("12", "4711", "1", "1"), ("12", "4711", "2", "2"), ("12", "4712", "", "3")),
        ("--",),
    ),
    Vendor(
        "samsung",
        ("Time", "NE Name", "Family", "Location"),
        (("2020-05-18T16:15:00+09:00",), ("2020-05-18 16:30",)),
        (("eNB_1", "RRC", "cNum0"), ("eNB_1", "HO", "cNum0"), ("eNB_2", "HO", "cNum1")),
        ("--", "Null"),
    ),
)
names = st.sampled_from(("C373200001", "1526726657", "RRC tries(C373200002)", "ConnEstabAtt", "pm.a,b", "Größe %"))
texts = st.sampled_from([text for text in (*NUMBERS, *ODD_NUMBERS, *TEXTS, *VECTORS, *MISSING, "12,5") if text != "\t"])


@dataclass(frozen=True)
class Table:
    """A generated table with its profile and file name."""

    text: str
    profile: str
    file_name: str


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Generates a complete table of a vendor."""
    vendor = draw(st.sampled_from(VENDORS))
    delimiter = draw(st.sampled_from(",;\t|"))
    counters = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    width = len(vendor.columns) + len(counters)
    lines = [[*vendor.columns, *counters]]
    if vendor.units and draw(st.booleans()):
        lines.append(["", "Minutes", *[""] * (width - 2)])
    for _ in range(draw(st.integers(1, 6))):
        values = [draw(st.one_of(texts, st.sampled_from(vendor.missing))) for _ in counters]
        lines.append([*draw(st.sampled_from(vendor.times)), *draw(st.sampled_from(vendor.objects)), *values])
        if draw(st.integers(0, 9)) == 9:
            lines.append(draw(st.sampled_from(([], [""] * width))))
    if draw(st.booleans()):
        lines = [[*line, ""] for line in lines]
    out = io.StringIO()
    line_end = draw(st.sampled_from(("\n", "\r\n")))
    quoted: type[csv.Dialect] = draw(st.sampled_from((csv.excel, csv.unix_dialect)))
    csv.writer(out, quoted, delimiter=delimiter, lineterminator=line_end).writerows(lines)
    titles = draw(st.sampled_from(("", "PM export\n", "sep=;\n\nExported 2020-05-18 16:20\n")))
    name = draw(st.sampled_from(("HOST03_pmresult_1526726656_15_202005181600.csv", "EUtranCell_20200518.csv", "x.txt")))
    return Table(titles + out.getvalue(), vendor.profile, name)
