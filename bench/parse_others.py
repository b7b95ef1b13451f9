"""Other ways to read PM files, for comparison: hand-tuned expat, lxml, csv, and parsing without any handler.

They produce the same rows, with the parser's own conversion from texts to JSON, but check and merge nothing.
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
"""Rows of texts: the object, the values, the suspect flag."""


def messages() -> Callable[[list[str], Rows], None]:
    """Returns a function that makes one message of a measInfo."""
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


class MeasInfo:
    """The texts of the measInfo that is being read, shared by the two handlers."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.names: list[str] = []
        self.types: list[str] = []
        self.places: list[str] = []
        self.results: list[str] = []
        self.rows: Rows = []
        self.name = self.suspect = ""


def expat_handlers(packed: bytes) -> int:
    """Hand-tuned expat: closures over lists, one comparison per row for the order of p."""
    info = MeasInfo()
    return _run_expat(packed, _start_handler(info), _end_handler(info, messages()), info.text)


def _run_expat(
    packed: bytes, start: Callable[[str, dict[str, str]], None], end: Callable[[str], None], text: list[str]
) -> int:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.Parse(isal_zlib.decompress(packed, 31), True)
    return 0


def _start_handler(info: MeasInfo) -> Callable[[str, dict[str, str]], None]:
    text, names, types, places, results, rows = (
        info.text, info.names, info.types, info.places, info.results, info.rows
    )  # fmt: skip
    place = places.append

    def start(tag: str, attributes: dict[str, str]) -> None:
        text.clear()
        if tag == "r":
            place(attributes.get("p", ""))
        elif tag in ("measValue", "mv"):
            info.name, info.suspect = attributes.get("measObjLdn", ""), ""
            results.clear()
            places.clear()
        elif tag in ("measType", "mt"):
            types.append(attributes.get("p", ""))
        elif tag in ("measInfo", "mi"):
            names.clear()
            types.clear()
            rows.clear()

    return start


def _end_handler(info: MeasInfo, emit: Callable[[list[str], Rows], None]) -> Callable[[str], None]:
    text, names, types, places, results, rows = (
        info.text, info.names, info.types, info.places, info.results, info.rows
    )  # fmt: skip
    add = results.append

    def end(tag: str) -> None:
        if tag == "r":
            add(text[0] if len(text) == 1 else "".join(text))
        elif tag in ("measValue", "mv"):
            by_place = dict(zip(places, results, strict=True)) if places and places != types else None
            values = [by_place.get(p, "") for p in types] if by_place else results
            rows.append((info.name, *values, info.suspect))
        elif tag in ("measType", "mt"):
            names.append("".join(text))
        elif tag == "measTypes":
            names[:] = "".join(text).split()
        elif tag == "measResults":
            results[:] = "".join(text).split()
        elif tag == "moid":
            info.name = "".join(text)
        elif tag in ("suspect", "sf"):
            info.suspect = "".join(text)
        elif tag in ("measInfo", "mi"):
            emit(names, rows)

    return end


def expat_empty(packed: bytes) -> int:
    """Unpacks and parses without handlers."""
    expat.ParserCreate().Parse(isal_zlib.decompress(packed, 31), True)
    return 0


def lxml_iterparse(packed: bytes) -> int:
    """Reads one tree per measInfo and clears it afterwards."""
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
    """Reads OMeS like `expat_handlers`: one message per measurement type and set of counters."""
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

    _run_expat(packed, start, end, text)
    for (_, *counters), found in rows.items():
        emit(counters, found)
    return 0


def lxml_omes(packed: bytes) -> int:
    """Reads one tree per PMMOResult."""
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
    """Reads rows with the standard library."""
    emit = messages()
    reader = csv.reader(io.StringIO(isal_zlib.decompress(packed, 31).decode()))
    header = next(reader)
    next(reader)
    emit(header[4:], [(row[2], *row[4:], "true" if row[3] == "Unreliable" else "") for row in reader])
    return 0


def csv_empty(packed: bytes) -> int:
    """Unpacks and reads the rows without using them."""
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
"""Ways to read a file, by the file's layout."""
