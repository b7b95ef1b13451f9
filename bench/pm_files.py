"""Generates PM files for the benchmarks: all dialects, with sizes and values like those of real files."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

END = "2023-05-15T07:15:00+01:00"
NAMES = ("pmRrcConnEstabAtt", "pmRrcConnEstabSucc", "pmDrbEstabAttArp", "pmMacVolDlDrb", "pmMacTimeDlDrb")


@dataclass(frozen=True)
class Shape:
    """The shape of a generated file: cells x groups x counters."""

    name: str
    about: str
    cells: int = 60
    groups: int = 30
    counters: int = 50
    layout: str = "r"
    vectors: float = 0.0
    """Share of counters that are vectors, the same ones in all rows, as in real files."""
    decimals: bool = False


SHAPES = (
    Shape("r", "r p=, 2 % blank"),
    Shape("rvec", "r p=, 15 % of the counters vectors", vectors=0.15),
    Shape("rdec", "r p=, decimals, suspect on each row", decimals=True),
    Shape("list", "measTypes/measResults", layout="list"),
    Shape("mdc", "32.401 mdc", layout="mdc"),
    Shape("omes", "Nokia OMeS", layout="omes"),
    Shape("table", "CSV, as Huawei's pmresult", layout="table"),
)
LARGE = Shape("large", "r p=, 186 MB", cells=4500)


def values(chance: random.Random, shape: Shape) -> tuple[list[str], list[str]]:
    """Returns numbers and vectors to choose values from, mostly zeros as in real files."""
    if shape.decimals:
        return ["0.000000"] * 600 + [f"{chance.random() * 1000:.6f}" for _ in range(400)], []
    blank = " " if shape.layout == "r" else "NIL"
    stock = ["0"] * 5500 + [blank] * 200
    stock += [str(chance.randrange(1, 1000)) for _ in range(2500)]
    stock += [str(chance.randrange(1000, 10**8)) for _ in range(1500)]
    stock += [f"{chance.random() * 100:.3f}" for _ in range(300)]
    numbers = ["0"] * 8 + [str(chance.randrange(1, 5000)) for _ in range(200)]
    vectors = [
        ",".join(chance.choices(numbers, [10.0] * 8 + [0.1] * 200, k=chance.choice((12, 17, 32)))) for _ in range(2000)
    ]
    return stock, vectors


def document(shape: Shape) -> Iterator[bytes]:
    """Yields the parts of a file, one per group."""
    chance = random.Random(7)
    stock, vectors = values(chance, shape)
    frame = FRAMES[shape.layout](shape)
    yield frame[0].encode()
    for group in range(shape.groups):
        names = [f"{NAMES[at % 5]}{group * shape.counters + at}" for at in range(shape.counters)]
        wide = {at for at in range(shape.counters) if chance.random() < shape.vectors}
        parts = [HEADS[shape.layout](group, names)]
        for cell in range(shape.cells):
            row = chance.choices(stock, k=shape.counters)
            for at in wide:
                row[at] = chance.choice(vectors)
            suspect = "false" if shape.decimals else "true" if chance.random() < 0.02 else ""
            parts.append(ROWS[shape.layout](Row(group, f"Function=1,Group{group}={cell}", names, row, suspect)))
        yield "".join([*parts, ENDS[shape.layout]]).encode()
    yield frame[1].encode()


@dataclass(frozen=True)
class Row:
    """The values of one object."""

    group: int
    name: str
    counters: list[str]
    values: list[str]
    suspect: str


def _meas_frame(_shape: Shape) -> tuple[str, str]:
    begin = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<?xml-stylesheet type="text/xsl" href="MeasDataCollection.xsl"?>\n'
        '<measCollecFile xmlns="http://www.3gpp.org/ftp/specs/archive/32_series/32.435#measCollec">\n'
        '  <fileHeader fileFormatVersion="32.435 V10.0" vendorName="Vendor" dnPrefix="SubNetwork=G3">\n'
        '    <fileSender localDn="GNODEB-0"/>\n    <measCollec beginTime="2023-05-15T07:00:00+01:00"/>\n'
        '  </fileHeader>\n  <measData>\n    <managedElement localDn="GNODEB-0" swVersion="1"/>\n'
    )
    end = f'  </measData>\n  <fileFooter>\n    <measCollec endTime="{END}"/>\n  </fileFooter>\n</measCollecFile>\n'
    return begin, end


def _mdc_frame(_shape: Shape) -> tuple[str, str]:
    begin = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE mdc SYSTEM "MeasDataCollection.dtd">\n<mdc>\n<mfh>\n'
        "<ffv>32.401 V6.2</ffv>\n<sn>SubNetwork=1</sn>\n</mfh>\n<md>\n<neid>\n<neun>RNC01</neun>\n"
        "<nedn>SubNetwork=1,MeContext=RNC01</nedn>\n</neid>\n"
    )
    return begin, "</md>\n<mff>\n<ts>20230515061500Z</ts>\n</mff>\n</mdc>\n"


def _omes_frame(_shape: Shape) -> tuple[str, str]:
    begin = '<?xml version="1.0"?>\n<OMeS>\n<PMSetup startTime="2023-05-15T06:00:00.000+00:00:00" interval="15">\n'
    return begin, "</PMSetup>\n</OMeS>\n"


def _table_frame(shape: Shape) -> tuple[str, str]:
    names = ",".join(f"15267{at:05}" for at in range(shape.counters))
    units = ",".join(["None"] * shape.counters)
    return f"Result Time,Granularity Period,Object Name,Reliability,{names}\n,Minutes,,,{units}\n", ""


def _meas_head(group: int, types: str) -> str:
    return (
        f'    <measInfo measInfoId="PM=1,PmGroup=NRCellCU_{group}">\n      <job jobId="nr_all"/>\n'
        f'      <granPeriod duration="PT900S"\n                  endTime="{END}"/>\n'
        f'      <repPeriod duration="PT900S"/>\n{types}'
    )


def _r_head(group: int, names: list[str]) -> str:
    return _meas_head(
        group, "".join(f'      <measType p="{at}">{name}</measType>\n' for at, name in enumerate(names, 1))
    )


def _list_head(group: int, names: list[str]) -> str:
    return _meas_head(group, f"      <measTypes>{' '.join(names)}</measTypes>\n")


def _mdc_head(_group: int, names: list[str]) -> str:
    types = "".join(f"<mt>{name}</mt>\n" for name in names)
    return f"<mi>\n<mts>20230515061500Z</mts>\n<gp>900</gp>\n{types}"


def _meas_row(row: Row, results: str) -> str:
    mark = f"        <suspect>{row.suspect}</suspect>\n" if row.suspect else ""
    return f'      <measValue measObjLdn="ManagedElement=GNODEB-0,{row.name}">\n{results}{mark}      </measValue>\n'


def _r_row(row: Row) -> str:
    return _meas_row(row, "".join(f'        <r p="{at}">{text}</r>\n' for at, text in enumerate(row.values, 1)))


def _list_row(row: Row) -> str:
    return _meas_row(row, f"        <measResults>{' '.join(row.values)}</measResults>\n")


def _mdc_row(row: Row) -> str:
    results = "".join(f"<r>{text}</r>\n" for text in row.values)
    mark = "<sf>TRUE</sf>\n" if row.suspect else ""
    return f"<mv>\n<moid>ManagedElement=GNODEB-0,{row.name}</moid>\n{results}{mark}</mv>\n"


def _omes_row(row: Row) -> str:
    values = "".join(f"<M{at}>{text}</M{at}>\n" for at, text in enumerate(row.values))
    name = f"<MO><DN>PLMN-PLMN/MRBTS-1/{row.name}</DN></MO>\n"
    return f'<PMMOResult>\n{name}<NE-WBTS_1.0 measurementType="G{row.group}">\n{values}</NE-WBTS_1.0>\n</PMMOResult>\n'


def _table_row(row: Row) -> str:
    reliability = "Unreliable" if row.suspect else "Reliable"
    return f'2023-05-15 07:00,15,"GNODEB-0/Cell:{row.name}",{reliability},{",".join(row.values)}\n'


FRAMES: dict[str, Callable[[Shape], tuple[str, str]]] = {
    "r": _meas_frame, "list": _meas_frame, "mdc": _mdc_frame, "omes": _omes_frame, "table": _table_frame,
}  # fmt: skip
HEADS: dict[str, Callable[[int, list[str]], str]] = {
    "r": _r_head, "list": _list_head, "mdc": _mdc_head, "omes": lambda *_: "", "table": lambda *_: "",
}  # fmt: skip
ROWS = {"r": _r_row, "list": _list_row, "mdc": _mdc_row, "omes": _omes_row, "table": _table_row}
ENDS = {"r": "    </measInfo>\n", "list": "    </measInfo>\n", "mdc": "    </mi>\n", "omes": "", "table": ""}
