"""A plain, slow reader of all XML dialects for comparison; it shares neither code nor ideas with the product.

`python -m tests.reference FILE...` prints the rows that must be stored, `--golden` writes those of all samples.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

DATA = Path(__file__).parent / "data"
MISSING = {"", "NIL", "NULL", "NAN", "-", "N/A"}
XML_SPACE = " \t\r\n"

Value = str | list[str | None] | None


@dataclass
class Head:
    """The facts that stand once for all rows of a measInfo."""

    element: str
    group: str
    end: str
    duration: str


@dataclass
class Block:
    """A measInfo, or its counterpart in other dialects."""

    element: str
    group: str
    end: datetime
    gp_s: int
    rows: list[tuple[str, bool, list[tuple[str, Value]]]] = field(default_factory=list)


class Faulty(Exception):  # noqa: N818
    """The block must not be stored."""


def rows(xml: bytes, element: str, zone_offset_min: int = 0) -> list[dict[str, Any]]:
    """Returns the rows that must be stored of a document, in the form of the golden files."""
    root = ET.fromstring(xml)
    zone = timezone(timedelta(minutes=zone_offset_min))
    match _name(root):
        case "measCollecFile" | "measDataFile" | "MeasDataFile":
            found = _meas_collec(root, element, zone)
        case "mdc":
            found = _mdc(root, element, zone)
        case "OMeS":
            found = _omes(root, element, zone)
        case other:
            raise ValueError(f"no PM file: {other}")
    return _merged(found)


def _merged(blocks: Iterator[Block]) -> list[dict[str, Any]]:
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for block in blocks:
        end_s = round(block.end.timestamp())
        for name, suspect, values in block.rows:
            key = (block.element, block.group, block.gp_s, end_s, name)
            identity = {"element": block.element, "group": block.group, "object": name, "end_s": end_s}
            row = merged.setdefault(key, {**identity, "gp_s": block.gp_s, "suspect": False, "values": {}})
            row["suspect"] = row["suspect"] or suspect
            for counter, value in values:
                if row["values"].get(counter) is None:
                    row["values"][counter] = value
    return list(merged.values())


def _meas_collec(root: ET.Element, fallback: str, zone: timezone) -> Iterator[Block]:
    header = _child(root, "fileHeader")
    prefix = _attribute(header, "dnPrefix")
    sender_node = _child(header, "fileSender")
    sender = _attribute(sender_node, "localDn") or _attribute(sender_node, "senderName")
    for data in _children(root, "measData"):
        names = ("managedElement", "measEntity", "measuredEntity")
        managed = next((found for name in names if (found := _child(data, name)) is not None), None)
        element = _dn(prefix, _attribute(managed, "localDn"), sender, _attribute(managed, "userLabel") or fallback)
        for info in _children(data, "measInfo"):
            period = _child(info, "granPeriod")
            rows_of = [(_attribute(row, "measObjLdn"), row) for row in _children(info, "measValue")]
            end, duration = _attribute(period, "endTime"), _attribute(period, "duration")
            yield from _block(info, rows_of, Head(element, _attribute(info, "measInfoId"), end, duration), zone)


def _mdc(root: ET.Element, fallback: str, zone: timezone) -> Iterator[Block]:
    sender = _text(_child(_child(root, "mfh"), "sn"))
    for data in _children(root, "md"):
        neid = _child(data, "neid")
        element = _text(_child(neid, "nedn")) or _text(_child(neid, "neun")) or sender or fallback
        for info in _children(data, "mi"):
            rows_of = [(_text(_child(row, "moid")), row) for row in _children(info, "mv")]
            end, duration = (_text(_child(info, tag)) or _text(_child(data, tag)) for tag in ("mts", "gp"))
            yield from _block(info, rows_of, Head(element, "", end, duration), zone)
            for counters in _children(info, "ms"):
                rows_of = [(_text(_child(row, "moid")), row) for row in _children(counters, "mv")]
                head = Head(element, _text(_child(counters, "msn")), end, duration)
                for block in _block(counters, rows_of, head, zone):
                    flagged = _text(_child(counters, "sf")).lower() in ("true", "1")
                    block.rows = [(name, suspect or flagged, values) for name, suspect, values in block.rows]
                    yield block


def _block(info: ET.Element, rows_of: list[tuple[str, ET.Element]], head: Head, zone: timezone) -> Iterator[Block]:
    """Yields a block for each run of rows with the same counters."""
    try:
        common = _counters(info)
        end, gp_s = _time(head.end, zone), _duration_s(head.duration)
    except Faulty:
        return
    runs: list[tuple[list[tuple[str, str]], list[tuple[str, ET.Element]]]] = []
    for name, row in rows_of:
        own = _counters(row)
        common = common or (own if not runs else [])
        if not runs or runs[-1][0] != (own or common):
            runs.append((own or common, []))
        runs[-1][1].append((name, row))
    for counters, rows in runs:
        group = head.group or _class(_first_object(counters, runs, rows)) or _class(head.element) or "ManagedElement"
        block = Block(head.element, group, end, gp_s)
        try:
            for name, row in rows:
                block.rows += _row(name, row, counters)
        except Faulty:
            continue
        yield block


def _first_object(counters: object, runs: list[tuple[Any, Any]], rows: list[tuple[str, ET.Element]]) -> str:
    """Returns the first object of the rows with these counters, if they were the counters of an earlier run."""
    earlier = [found for known, found in runs if known == counters]
    return str((earlier or [rows])[0][0][0])


def _row(
    name: str, row: ET.Element, counters: list[tuple[str, str]]
) -> Iterator[tuple[str, bool, list[tuple[str, Value]]]]:
    texts = _results(row, counters)
    suspect = any(_text(child).lower() in ("true", "1") for child in row if _name(child) in ("suspect", "sf"))
    values = [(c, _value(t)) for (c, _), t in zip(counters, texts, strict=True) if c]
    if values:
        yield name, suspect, values


def _counters(info: ET.Element) -> list[tuple[str, str]]:
    """Returns counter names with their p."""
    counters: list[tuple[str, str]] = []
    had_row = False
    for child in info:
        match _name(child):
            case "measType" | "mt":
                named = [(_text(child), _p(child))]
            case "measTypes":
                text = _all_text(child)
                commas = r",[ \t\r\n]|[ \t\r\n],|^[^ \t\r\n]*$"
                text = text.replace(",", " ") if re.search(commas, text.strip(XML_SPACE)) else text
                named = [(name, "") for name in _list(text)]
            case "measValue" | "mv":
                had_row = True
                continue
            case _:
                continue
        if had_row and named:
            raise Faulty("named late")
        counters += [(name, p or str(len(counters) + at)) for at, (name, p) in enumerate(named, 1)]
    if had_row and len({p for _, p in counters}) < len(counters):
        raise Faulty("p twice")
    return counters


def _results(row: ET.Element, counters: list[tuple[str, str]]) -> list[str]:
    texts: list[str] = []
    positions: list[str] = []
    for child in row:
        if _name(child) == "r":
            texts.append(_all_text(child))
            positions.append(_p(child))
        elif _name(child) == "measResults":
            texts += _results_list(_all_text(child).strip(XML_SPACE))
    if any(positions):
        if len(positions) != len(texts) or len(set(positions)) != len(positions):
            raise Faulty("p twice")
        at = dict(zip(positions, texts, strict=True))
        if not set(at) <= {p for _, p in counters}:
            raise Faulty("p unknown")
        return [at.get(p, "") for _, p in counters]
    if not texts:
        return [""] * len(counters)
    if len(texts) != len(counters):
        raise Faulty(f"{len(texts)} results for {len(counters)} types")
    return texts


def _results_list(text: str) -> list[str]:
    if not re.search(r",[ \t\r\n]|[ \t\r\n],", text):
        return _list(text)
    items = [_list(item) or [""] for item in text.split(",")]
    if any(len(item) > 1 for item in items):
        raise Faulty("commas and blanks")
    return [item[0] for item in items]


def _omes(root: ET.Element, fallback: str, zone: timezone) -> Iterator[Block]:
    for setup in root:
        try:
            gp_s = 60 * int(_attribute(setup, "interval"))
            end = _time(_attribute(setup, "startTime"), zone) + timedelta(seconds=gp_s)
        except (Faulty, ValueError):
            continue
        for result in setup:
            measured = [child for child in result if _name(child) == "MO"]
            bases = [_text(part) for mo in measured for part in mo if _name(part) == "baseId" and _text(part)]
            names = ["/".join(filter(None, (_text(part).removeprefix("DN:") for part in mo))) for mo in measured]
            name = ",".join(filter(None, names))
            for target in result:
                if _name(target) != "MO" and len(target):
                    group = (target.get("measurementType") or _name(target)).strip(XML_SPACE)
                    values = [(_name(counter), _value(_all_text(counter))) for counter in target]
                    yield Block(bases[0] if bases else fallback, group, end, gp_s, [(name, False, values)])


def _name(node: ET.Element) -> str:
    return node.tag.rpartition("}")[2]


def _children(node: ET.Element, name: str) -> list[ET.Element]:
    return [child for child in node if _name(child) == name]


def _child(node: ET.Element | None, name: str) -> ET.Element | None:
    found = _children(node, name) if node is not None else []
    return found[-1] if found else None


def _attribute(node: ET.Element | None, name: str) -> str:
    return node.get(name, "").strip(XML_SPACE) if node is not None else ""


def _all_text(node: ET.Element) -> str:
    return "".join(node.itertext())


def _text(node: ET.Element | None) -> str:
    return _all_text(node).strip(XML_SPACE) if node is not None else ""


def _list(text: str) -> list[str]:
    for space in XML_SPACE:
        text = text.replace(space, " ")
    return [part for part in text.split(" ") if part]


def _p(node: ET.Element) -> str:
    p = _attribute(node, "p")
    return str(int(p)) if p.isascii() and p.isdigit() else p.lstrip("0") or p[:1]


def _dn(prefix: str, local: str, sender: str, fallback: str) -> str:
    if local or sender:
        return ",".join(part for part in (prefix, local or sender) if part)
    return fallback


def _class(dn: str) -> str:
    rdns = [""]
    for at, character in enumerate(dn):
        if character == "," and dn[at - 1 : at] != "\\":
            rdns.append("")
        else:
            rdns[-1] += character
    return rdns[-1].split("=")[0].strip() if "=" in rdns[-1] else ""


def _value(text: str) -> Value:
    text = text.strip(XML_SPACE)
    if "," not in text:
        return _scalar(text)
    parts = [_scalar(part.strip(XML_SPACE)) for part in text.split(",")]
    if all(part is None for part in parts):
        return None
    return parts if any(part is not None and _decimal(part) is not None for part in parts) else text


def _scalar(text: str) -> str | None:
    if text.upper() in MISSING:
        return None
    return _canonical(text) if _decimal(text) is not None else text


def _decimal(text: str) -> Decimal | None:
    """Returns the number if a reader of JSON can hold it."""
    if not text or set(text) - set("0123456789+-.eE") or text[-1] in "eE+-":
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if set(text) <= set("0123456789+-") or (text[-1] == "." and set(text[:-1]) <= set("0123456789+-")):
        return number if -(2**63) <= number < 2**63 else None
    return number if abs(float(text)) != float("inf") else None


def _canonical(text: str) -> str:
    """Writes a number as JSON does: no plus, no leading zeros, digits on both sides of the point."""
    sign = "-" if text[0] == "-" else ""
    mantissa, e, exponent = text.lstrip("+-").replace("E", "e").partition("e")
    exponent_mark = "E" if "E" in text else "e"
    whole, _, fraction = mantissa.partition(".")
    while len(whole) > 1 and whole[0] == "0":
        whole = whole[1:]
    return sign + (whole or "0") + ("." + fraction if fraction else "") + (exponent_mark + exponent if e else "")


def _time(text: str, zone: timezone) -> datetime:
    """Reads ISO 8601 in all spellings seen in PM files, and the digits of 32.401."""
    text = text.strip().replace(" ", "T")
    digits, offset = text, zone
    if text.endswith("Z"):
        digits, offset = text[:-1], timezone.utc  # noqa: UP017
    else:
        at = max(text.rfind("+"), text.rfind("-", 11))
        if at > 0:
            digits, sign = text[:at], -1 if text[at] == "-" else 1
            parts = text[at + 1 :].replace(":", "")
            hours, minutes, seconds = (int(parts[i : i + 2] or 0) for i in (0, 2, 4))
            offset = timezone(sign * timedelta(hours=hours, minutes=minutes, seconds=seconds))
    digits, _, fraction = digits.partition(".")
    digits = "".join(character for character in digits if character.isdigit()).ljust(14, "0")
    try:
        is_midnight = digits[8:] == "240000"
        time = datetime.strptime(digits[:8] + ("000000" if is_midnight else digits[8:]), "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError as error:
        raise Faulty(text) from error
    time += timedelta(days=is_midnight, seconds=float(f"0.{fraction or 0}") > 0.5)
    return time.replace(tzinfo=offset).astimezone(UTC)


def _duration_s(text: str) -> int:
    """Reads a duration: PT15M, PT900S, PT1H, P1D, or plain seconds as in 32.401."""
    if text.isdigit():
        return int(text)
    if not text.startswith("P"):
        raise Faulty(text)
    unit_s = {"W": 604800, "D": 86400, "H": 3600, "M": 60, "S": 1}
    total, number = 0.0, ""
    for character in text[1:]:
        if character.isdigit() or character == ".":
            number += character
        elif character in unit_s and number:
            total += float(number) * unit_s[character]
            number = ""
        elif character != "T":
            raise Faulty(text)
    if total <= 0 or total % 1:
        raise Faulty(text)
    return int(total)


def document(file: Path) -> bytes:
    """Returns the XML of a file."""
    packed = file.read_bytes()
    return gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed


def golden_lines(file: Path) -> str:
    """Returns the content of a golden file."""
    found = rows(document(file), element=file.name)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


def main(arguments: list[str]) -> None:
    """Prints rows, or writes the golden files."""
    if arguments != ["--golden"]:
        for name in arguments:
            sys.stdout.write(golden_lines(Path(name)))
        return
    for file in sorted((DATA / "samples").glob("*.xml*")):
        (DATA / "golden" / f"{file.name}.jsonl").write_text(golden_lines(file), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
