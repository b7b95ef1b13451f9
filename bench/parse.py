"""How fast PM files become messages: the parser, hand-tuned expat, lxml and bare expat, side by side in one run.

`python -m bench.parse [--rounds N]`: gz in memory to zstd-ed JSON messages, one core, the best of N interleaved rounds.
The others make the same rows, with the parser's own way from texts to JSON, but check and merge nothing; the garbage
collector is off for all. Bare expat only unpacks and parses, without handlers. Memory: a file of about 186 MB, read
from disk in a process of its own. The last line is a JSON object of ratios: those of speed are of shape r, the plain
expanded file (`shapes` has them all).
"""

import argparse
import gc
import importlib
import importlib.util
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from xml.parsers import expat

import orjson
import zstandard
from isal import igzip, isal_zlib

from services.fetcher.batches import read_file
from services.fetcher.parse import proof
from services.fetcher.parse.cells import quoted
from services.fetcher.parse.rows import line
from services.fetcher.parsed import Origin
from services.fetcher.parsers import Limits, Parsers

ORIGIN = Origin(system="5ga", file_id="0123456789abcdef", element="gnb-1", ver=1)
END = "2023-05-15T07:15:00+01:00"
NAMES = ("pmRrcConnEstabAtt", "pmRrcConnEstabSucc", "pmDrbEstabAttArp", "pmMacVolDlDrb", "pmMacTimeDlDrb")


@dataclass(frozen=True)
class Shape:
    """A generated file: cells x groups x counters."""

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
)
LARGE = Shape("large", "r p=, 186 MB", cells=4500)


def values(chance: random.Random, shape: Shape) -> tuple[list[str], list[str]]:
    """A stock of numbers and one of vectors, mostly zeros as in real files."""
    if shape.decimals:
        return ["0.000000"] * 600 + [f"{chance.random() * 1000:.6f}" for _ in range(400)], []
    blank = {"r": " ", "list": "NIL", "mdc": "NIL"}[shape.layout]
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
    """The file, group by group."""
    chance = random.Random(7)
    stock, vectors = values(chance, shape)
    frame = _mdc_frame() if shape.layout == "mdc" else _meas_frame()
    yield frame[0].encode()
    for group in range(shape.groups):
        names = [f"{NAMES[at % 5]}{group * shape.counters + at}" for at in range(shape.counters)]
        wide = {at for at in range(shape.counters) if chance.random() < shape.vectors}
        parts = [_head(shape, group, names)]
        for cell in range(shape.cells):
            row = chance.choices(stock, k=shape.counters)
            for at in wide:
                row[at] = chance.choice(vectors)
            suspect = "false" if shape.decimals else "true" if chance.random() < 0.02 else ""
            parts.append(_row(shape, f"Function=1,Group{group}={cell}", row, suspect))
        parts.append("    </mi>\n" if shape.layout == "mdc" else "    </measInfo>\n")
        yield "".join(parts).encode()
    yield frame[1].encode()


def _meas_frame() -> tuple[str, str]:
    begin = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<?xml-stylesheet type="text/xsl" href="MeasDataCollection.xsl"?>\n'
        '<measCollecFile xmlns="http://www.3gpp.org/ftp/specs/archive/32_series/32.435#measCollec">\n'
        '  <fileHeader fileFormatVersion="32.435 V10.0" vendorName="Vendor" dnPrefix="SubNetwork=G3">\n'
        '    <fileSender localDn="GNODEB-0"/>\n    <measCollec beginTime="2023-05-15T07:00:00+01:00"/>\n'
        '  </fileHeader>\n  <measData>\n    <managedElement localDn="GNODEB-0" swVersion="1"/>\n'
    )
    end = f'  </measData>\n  <fileFooter>\n    <measCollec endTime="{END}"/>\n  </fileFooter>\n</measCollecFile>\n'
    return begin, end


def _mdc_frame() -> tuple[str, str]:
    begin = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE mdc SYSTEM "MeasDataCollection.dtd">\n<mdc>\n<mfh>\n'
        "<ffv>32.401 V6.2</ffv>\n<sn>SubNetwork=1</sn>\n</mfh>\n<md>\n<neid>\n<neun>RNC01</neun>\n"
        "<nedn>SubNetwork=1,MeContext=RNC01</nedn>\n</neid>\n"
    )
    return begin, "</md>\n<mff>\n<ts>20230515061500Z</ts>\n</mff>\n</mdc>\n"


def _head(shape: Shape, group: int, names: list[str]) -> str:
    if shape.layout == "mdc":
        types = "".join(f"<mt>{name}</mt>\n" for name in names)
        return f"<mi>\n<mts>20230515061500Z</mts>\n<gp>900</gp>\n{types}"
    types = (
        f"      <measTypes>{' '.join(names)}</measTypes>\n"
        if shape.layout == "list"
        else "".join(f'      <measType p="{at}">{name}</measType>\n' for at, name in enumerate(names, 1))
    )
    return (
        f'    <measInfo measInfoId="PM=1,PmGroup=NRCellCU_{group}">\n      <job jobId="nr_all"/>\n'
        f'      <granPeriod duration="PT900S"\n                  endTime="{END}"/>\n'
        f'      <repPeriod duration="PT900S"/>\n{types}'
    )


def _row(shape: Shape, name: str, row: list[str], suspect: str) -> str:
    if shape.layout == "mdc":
        results = "".join(f"<r>{text}</r>\n" for text in row)
        mark = "<sf>TRUE</sf>\n" if suspect else ""
        return f"<mv>\n<moid>ManagedElement=GNODEB-0,{name}</moid>\n{results}{mark}</mv>\n"
    results = (
        f"        <measResults>{' '.join(row)}</measResults>\n"
        if shape.layout == "list"
        else "".join(f'        <r p="{at}">{text}</r>\n' for at, text in enumerate(row, 1))
    )
    mark = f"        <suspect>{suspect}</suspect>\n" if suspect else ""
    return f'      <measValue measObjLdn="ManagedElement=GNODEB-0,{name}">\n{results}{mark}      </measValue>\n'


Rows = list[tuple[str, ...]]
"""Each the object, the values, the mark for suspect; texts."""


def messages() -> Callable[[list[str], Rows], None]:
    """What the others do with a measInfo: one message."""
    pack = zstandard.ZstdCompressor(1)

    def emit(names: list[str], rows: Rows) -> None:
        values = proof.split(rows, len(names), has_brackets=False)
        assert values
        lines = [
            line(quoted(row[0]), "1" if row[-1] == "true" else "0", cells)
            for row, cells in zip(rows, values.lines, strict=True)
        ]
        head = orjson.dumps({"system": ORIGIN.system, "gp_s": 900, "counters": names, "rows": []})
        pack.compress(head[:-2] + ",".join(lines).encode() + b"]}")

    return emit


def product(packed: bytes) -> int:
    """The parser as the fetcher calls it; returns the number of values."""
    pack = zstandard.ZstdCompressor(1)
    parsed = read_file(packed, ORIGIN)
    for batch in parsed.batches:
        pack.compress(batch.value)
    return parsed.counts.values


def expat_handlers(packed: bytes) -> int:  # noqa: C901, PLR0915 - closures are what makes it fast
    """Hand-tuned: no attribute look-ups, texts gathered by list.append, one comparison a row for the order of p."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    emit = messages()
    text: list[str] = []
    names: list[str] = []
    types: list[str] = []
    places: list[str] = []
    results: list[str] = []
    rows: Rows = []
    name = suspect = ""
    add, place = results.append, places.append

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal name, suspect
        text.clear()
        if tag == "r":
            place(attributes.get("p", ""))
        elif tag in ("measValue", "mv"):
            name, suspect = attributes.get("measObjLdn", ""), ""
            results.clear()
            places.clear()
        elif tag in ("measType", "mt"):
            types.append(attributes.get("p", ""))
        elif tag in ("measInfo", "mi"):
            names.clear()
            types.clear()
            rows.clear()

    def end(tag: str) -> None:
        nonlocal name, suspect, names
        if tag == "r":
            add(text[0] if len(text) == 1 else "".join(text))
        elif tag in ("measValue", "mv"):
            if places and places != types:
                at = dict(zip(places, results, strict=True))
                rows.append((name, *[at.get(p, "") for p in types], suspect))
            else:
                rows.append((name, *results, suspect))
        elif tag in ("measType", "mt"):
            names.append("".join(text))
        elif tag == "measTypes":
            names = "".join(text).split()
        elif tag == "measResults":
            results[:] = "".join(text).split()
        elif tag == "moid":
            name = "".join(text)
        elif tag in ("suspect", "sf"):
            suspect = "".join(text)
        elif tag in ("measInfo", "mi"):
            emit(names, rows)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.Parse(isal_zlib.decompress(packed, 31), True)
    return 0


def expat_empty(packed: bytes) -> int:
    """Unpacks and parses, nobody listens."""
    expat.ParserCreate().Parse(isal_zlib.decompress(packed, 31), True)
    return 0


def lxml_iterparse(packed: bytes) -> int:
    """Trees of a measInfo each, cleared behind."""
    etree = importlib.import_module("lxml.etree")
    emit = messages()
    plain = io.BytesIO(isal_zlib.decompress(packed, 31))
    for _, info in etree.iterparse(plain, tag=("{*}measInfo", "{*}mi")):
        names: list[str] = []
        rows: Rows = []
        for node in info:
            tag = node.tag.rpartition("}")[2]
            if tag in ("measType", "mt"):
                names.append(node.text or "")
            elif tag == "measTypes":
                names = (node.text or "").split()
            elif tag in ("measValue", "mv"):
                rows.append(_lxml_row(node))
        emit(names, rows)
        info.clear()
        while info.getprevious() is not None:
            del info.getparent()[0]
    return 0


def _lxml_row(node: Any) -> tuple[str, ...]:
    name, suspect = node.get("measObjLdn", ""), ""
    texts: list[str] = []
    for child in node:
        tag = child.tag.rpartition("}")[2]
        if tag == "r":
            texts.append(child.text or "")
        elif tag == "measResults":
            texts = (child.text or "").split()
        elif tag == "moid":
            name = child.text or ""
        else:
            suspect = child.text or ""
    return name, *texts, suspect


APPROACHES: dict[str, Callable[[bytes], int]] = {
    "product": product,
    "expat handlers": expat_handlers,
    "lxml.iterparse": lxml_iterparse,
    "expat empty": expat_empty,
}
OTHERS = ("expat handlers", "lxml.iterparse", "expat empty")


def race(packed: bytes, rounds: int, approaches: list[str]) -> dict[str, float]:
    """Best seconds of each, in turns."""
    best = dict.fromkeys(approaches, float("inf"))
    for _ in range(rounds):
        for name in approaches:
            begin = perf_counter()
            APPROACHES[name](packed)
            best[name] = min(best[name], perf_counter() - begin)
    return best


def extra_memory_mb() -> tuple[float, float, float]:
    """Peak memory above what the process has before, for a large file; its size and the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.xml.gz"
        size = 0
        with igzip.open(file, "wb", compresslevel=1) as packed:  # type: ignore[no-untyped-call]
            for part in document(LARGE):
                size += len(part)
                packed.write(part)
        child = subprocess.run(
            [sys.executable, "-m", "bench.parse", "--memory", str(file)], check=True, capture_output=True, text=True
        )
    found = json.loads(child.stdout)
    return found["extra_mb"], size / 1e6, found["seconds"]


def measure_memory(file: str) -> None:
    """In a process of its own: what reading a file takes, beyond the program itself."""
    read_file(b"".join(document(Shape("warm", "", cells=2, groups=1))), ORIGIN)
    before = _peak_mb()
    begin = perf_counter()
    with Path(file).open("rb") as packed:
        parsed = read_file(iter(lambda: packed.read(1 << 16), b""), ORIGIN)
    seconds = perf_counter() - begin
    print(json.dumps({"extra_mb": _peak_mb() - before, "seconds": seconds, "values": parsed.counts.values}))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def files_per_second(packed: bytes, processes: int, files: int = 160) -> float:
    """Through the fetcher's own processes, asked by as many threads."""
    parsers = Parsers(Limits(processes=processes), ())
    with ThreadPoolExecutor(processes * 2) as threads:
        list(threads.map(parsers, [packed] * processes * 2, [ORIGIN] * processes * 2))  # started and warm
        began = perf_counter()
        list(threads.map(parsers, [packed] * files, [ORIGIN] * files))
        took_s = perf_counter() - began
    parsers.close()
    return files / took_s


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--memory", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.memory:
        measure_memory(given.memory)
        return
    approaches = list(APPROACHES)
    if importlib.util.find_spec("lxml") is None:
        approaches.remove("lxml.iterparse")
        print("lxml is not installed: lxml.iterparse is left out")
    gc.disable()
    found: dict[str, dict[str, float]] = {}
    for shape in SHAPES:
        plain = b"".join(document(shape))
        packed = zlib.compress(plain, 6, 31)
        count = product(packed)
        found[shape.name] = best = race(packed, given.rounds, approaches)
        print(f"{shape.name}: {shape.about}; {len(plain) / 1e6:.2f} MB, {len(packed) / 1e6:.2f} packed, {count} values")
        for name in approaches:
            rate = f"{len(plain) / best[name] / 1e6:7.1f} MB/s  {count / best[name] / 1e6:6.2f} M values/s"
            print(f"  {name:15} {rate}  product / it = {best[name] / best['product']:.2f}")
    extra_mb, size_mb, seconds = extra_memory_mb()
    print(
        f"large: {size_mb:.0f} MB in {seconds:.2f} s = {size_mb / seconds:.0f} MB/s, {extra_mb:.0f} MB of extra memory"
    )

    packed = zlib.compress(b"".join(document(SHAPES[0])), 6, 31)
    one, two = (max(files_per_second(packed, processes) for _ in range(3)) for processes in (1, 2))
    print(f"processes: one {one:.0f} files/s, two {two:.0f} files/s = {two / one:.2f} times")
    ratios = {
        shape: {f"vs_{name.replace(' ', '_').replace('.', '_')}": ratio(best, name) for name in OTHERS}
        for shape, best in found.items()
    }
    print(
        json.dumps(
            {**ratios["r"], "extra_rss_mb": round(extra_mb, 1), "two_processes": round(two / one, 2), "shapes": ratios}
        )
    )


def ratio(best: dict[str, float], name: str) -> float | None:
    """How many times as fast the product is; None where the other is not there."""
    return round(best[name] / best["product"], 2) if name in best else None


if __name__ == "__main__":
    main()
