"""How others would read PM files: hand-tuned expat, lxml, csv, and what does nothing but parse.

They make the same rows, with the parser's own way from texts to JSON, but check and merge nothing.
"""

import csv
import importlib
import io
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

import orjson
import zstandard
from isal import isal_zlib

from services.fetcher.parse.values.cells import json_string
from services.fetcher.parse.values.rows import json_row
from services.fetcher.parse.xml import proof

Rows = list[tuple[str, ...]]
"""Each the object, the values, the mark for suspect; texts."""


def messages() -> Callable[[list[str], Rows], None]:
    """What the others do with a measInfo: one message."""
    pack = zstandard.ZstdCompressor(1)

    def emit(names: list[str], rows: Rows) -> None:
        values = proof.prove_value_rows(rows, len(names), has_brackets=False)
        assert values
        lines = [
            json_row(json_string(row[0]), "1" if row[-1] == "true" else "0", cells)
            for row, cells in zip(rows, values.lines, strict=True)
        ]
        head = orjson.dumps({"system": "5ga", "gp_s": 900, "counters": names, "rows": []})
        pack.compress(head[:-2] + ",".join(lines).encode() + b"]}")

    return emit


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


def expat_omes(packed: bytes) -> int:
    """The same of OMeS: one message for each measurement type, as long as the counters are the same."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    emit = messages()
    text: list[str] = []
    names: list[str] = []
    results: list[str] = []
    rows: dict[tuple[str, ...], Rows] = {}
    name = group = ""

    def start(_tag: str, attributes: dict[str, str]) -> None:
        nonlocal group
        text.clear()
        if "measurementType" in attributes:
            group = attributes["measurementType"]
            names.clear()
            results.clear()

    def end(tag: str) -> None:
        nonlocal name
        if tag == "DN":
            name = "".join(text)
        elif tag == "NE-WBTS_1.0":
            rows.setdefault((group, *names), []).append((name, *results, ""))
        elif tag not in ("MO", "PMMOResult", "PMSetup", "OMeS"):
            names.append(tag)
            results.append(text[0] if len(text) == 1 else "".join(text))
        text.clear()

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.Parse(isal_zlib.decompress(packed, 31), True)
    for (_, *counters), found in rows.items():
        emit(counters, found)
    return 0


def lxml_omes(packed: bytes) -> int:
    """A tree of a PMMOResult each."""
    etree = importlib.import_module("lxml.etree")
    emit = messages()
    rows: dict[tuple[str, ...], Rows] = {}
    for _, result in etree.iterparse(io.BytesIO(isal_zlib.decompress(packed, 31)), tag="PMMOResult"):
        measured, target = result
        key = (target.get("measurementType"), *[counter.tag for counter in target])
        row = (measured[0].text, *[counter.text or "" for counter in target], "")
        rows.setdefault(key, []).append(row)
        result.clear()
        while result.getprevious() is not None:
            del result.getparent()[0]
    for (_, *counters), found in rows.items():
        emit(counters, found)
    return 0


def csv_reader(packed: bytes) -> int:
    """The standard library's rows."""
    emit = messages()
    reader = csv.reader(io.StringIO(isal_zlib.decompress(packed, 31).decode()))
    header = next(reader)
    next(reader)
    emit(header[4:], [(row[2], *row[4:], "true" if row[3] == "Unreliable" else "") for row in reader])
    return 0


def csv_empty(packed: bytes) -> int:
    """Unpacks and reads, nobody looks at the rows."""
    for _ in csv.reader(io.StringIO(isal_zlib.decompress(packed, 31).decode())):
        pass
    return 0


_XML = {"expat handlers": expat_handlers, "lxml.iterparse": lxml_iterparse, "expat empty": expat_empty}
OTHERS: dict[str, dict[str, Callable[[bytes], int]]] = {
    "r": _XML,
    "list": _XML,
    "mdc": _XML,
    "omes": _XML | {"expat handlers": expat_omes, "lxml.iterparse": lxml_omes},
    "table": {"csv.reader": csv_reader, "csv empty": csv_empty},
}
"""By layout of the file."""
