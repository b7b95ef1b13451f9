"""A plain, slow reader of vendors' tables for comparison; it shares neither code nor ideas with the product.

`python -m tests.reference_tables` writes the golden files of all of them.
"""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import yaml

from tests import reference

PROFILES = Path(__file__).parents[1] / "services" / "fetcher" / "parse" / "tables" / "profiles"
DATA = Path(__file__).parent / "data"
TABLES = {
    "HOST03_pmresult_1526726656_15_202005181600_202005181615.csv": ("huawei-pmresult", "utf-8-sig"),
    "pmresult_1526726700_15_202005181600_202005181615.gbk.csv": ("huawei-pmresult", "gbk"),
    "EUtranCellFDD_20200518161500.csv": ("zte", "utf-8"),
    "RRC_20200518_1615.txt": ("samsung", "utf-8"),
}
"""Tables with a golden file -> profile and encoding. They imitate what vendors publish."""


def profiles() -> list[dict[str, Any]]:
    """Returns the shipped profiles as their YAML describes them."""
    return [yaml.safe_load(file.read_text()) for file in sorted(PROFILES.glob("*.yaml"))]


def rows(text: str, profile: dict[str, Any], file_name: str, element: str = "") -> list[dict[str, Any]]:
    """Returns the rows that must be stored of a table, in the form of the golden files."""
    lines, delimiter = _below_titles(text, profile)
    header, *body = csv.reader(io.StringIO(lines), delimiter=delimiter, skipinitialspace=True)
    table = Table(profile, header, file_name, delimiter)
    blocks = []
    for number, cells in enumerate(body):
        if any(cells) and not (number == 0 and table.is_units(cells)) and len(table.trimmed(cells)) == table.width:
            try:
                blocks.append(table.block(cells, element))
            except reference.Faulty:
                continue
    return reference._merged(iter(blocks))


def _below_titles(text: str, profile: dict[str, Any]) -> tuple[str, str]:
    lines = text.replace("\r\n", "\n").split("\n")
    for at, line in enumerate(lines):
        for delimiter in profile.get("delimiters", ",;\t|"):
            names = {_plain(name.strip('"')) for name in line.split(delimiter)}
            if any(_plain(name) in names for name in profile.get("begin", []) + profile.get("end", [])):
                return "\n".join(lines[at:]), delimiter
    raise ValueError("no header")


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isascii() and character.isalnum())


class Table:
    """Reads the columns of a table by their roles."""

    def __init__(self, profile: dict[str, Any], header: list[str], file_name: str, delimiter: str) -> None:
        self.profile = profile
        while header and not header[-1]:
            header.pop()
        self.header, self.width = [name.strip() for name in header], len(header)
        self.decimal = profile.get("decimal") or ("," if delimiter == ";" else ".")
        by_file = re.search(profile.get("group_by_file_name", "$^"), file_name)
        self.file_group = by_file[1] if by_file else ""

    def cell(self, cells: list[str], role: str) -> str:
        """Returns the cell in the first column of a role."""
        for wanted in self.profile.get(role, []):
            for name, cell in zip(self.header, cells, strict=False):
                if _plain(name) == _plain(wanted):
                    return cell.strip()
        return ""

    def has(self, role: str) -> bool:
        return any(_plain(w) in map(_plain, self.header) for w in self.profile.get(role, []))

    def trimmed(self, cells: list[str]) -> list[str]:
        while len(cells) > self.width and not cells[-1].strip():
            cells = cells[:-1]
        return cells

    def is_units(self, cells: list[str]) -> bool:
        times = self.cell(cells, "begin") + self.cell(cells, "end")
        return not any(character.isdigit() for character in times)

    def objects(self, cells: list[str]) -> str:
        wanted = list(dict.fromkeys(map(_plain, self.profile["object"])))
        parts = [
            (name, cell.strip())
            for plain in wanted
            for name, cell in zip(self.header, cells, strict=False)
            if _plain(name) == plain
        ]
        return parts[0][1] if len(parts) == 1 else ",".join(f"{name}={cell}" for name, cell in parts if cell)

    def counters(self, cells: list[str]) -> list[tuple[str, str]]:
        roles = ("begin", "end", "date", "period", "element", "group", "suspect")
        taken = {
            next((n for w in self.profile.get(role, []) for n in self.header if _plain(n) == _plain(w)), "")
            for role in roles
        }
        taken |= {
            n for n in self.header if _plain(n) in map(_plain, self.profile["object"] + self.profile.get("ignore", []))
        }
        pattern = self.profile.get("counters", ".*")
        return [
            (name, cell)
            for name, cell in zip(self.header, cells, strict=False)
            if name not in taken and re.fullmatch(pattern, name, re.IGNORECASE)
        ]

    def value(self, text: str) -> reference.Value:
        if text.strip().lower() in [token.lower() for token in self.profile.get("missing", [])]:
            return None
        if self.decimal == "," and re.fullmatch(r"\s*[+-]?[0-9]+,[0-9]+(e[+-]?[0-9]+)?\s*", text, re.IGNORECASE):
            text = text.replace(",", ".")
        if re.fullmatch(r"\s*[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?\s*", text):  # 1,234: a number or a vector?
            return None
        if not self.profile.get("decimal") and re.fullmatch(r"\s*[+-]?[0-9]+,[0-9]+\s*", text):
            return None
        return reference._value(text)

    def times(self, cells: list[str]) -> tuple[datetime | None, datetime | None]:
        begin, end = (self.cell(cells, role).removesuffix("DST").strip() for role in ("begin", "end"))
        date = self.cell(cells, "date")
        return tuple(self.time(f"{date} {text}".strip()) if text else None for text in (begin, end))  # type: ignore[return-value]

    def time(self, text: str) -> datetime:
        zone = self.profile.get("zone", "Z")
        for form in self.profile.get("time_format", []):
            try:
                found = datetime.strptime(text, form).replace(tzinfo=_zone(zone))
            except ValueError:
                continue
            return found.astimezone(UTC)
        return reference._time(text, _zone(zone))

    def block(self, cells: list[str], fallback: str) -> reference.Block:
        """Returns the block of one row."""
        name = self.objects(cells)
        begin, end = self.times(cells)
        gp_s = self.gp_s(self.cell(cells, "period"), begin, end)
        end = end or (begin + timedelta(seconds=gp_s) if begin else None)
        if not end:
            raise reference.Faulty("no time")
        patterned = {key: re.match(self.profile.get(key, "$^"), name) for key in ("element_pattern", "group_pattern")}
        found = {key: match[1].strip() if match else "" for key, match in patterned.items()}
        element = self.cell(cells, "element") or found["element_pattern"] or fallback
        group = self.cell(cells, "group") or self.file_group or found["group_pattern"] or reference._class(name)
        good = [word.lower() for word in self.profile.get("good", [])]
        suspect = self.has("suspect") and self.cell(cells, "suspect").lower() not in good
        values = [(counter, self.value(text)) for counter, text in self.counters(cells)]
        return reference.Block(
            element, group or reference._class(element) or "ManagedElement", end, gp_s, [(name, suspect, values)]
        )

    def gp_s(self, text: str, begin: datetime | None, end: datetime | None) -> int:
        digits = re.match(r"[0-9]+", text)
        if digits:
            unit = re.sub(r"[0-9. ]", "", text)[:1].lower() or self.profile.get("period_unit", "min")[0]
            return int(digits[0]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
        if text:
            return reference._duration_s(text)
        if begin and end:
            return int((end - begin).total_seconds())
        return reference._duration_s(self.profile.get("default_period", ""))


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[-2:])))


def golden_lines(file: Path) -> str:
    """Returns the content of a golden file."""
    profile = next(one for one in profiles() if one["name"] == TABLES[file.name][0])
    text = file.read_bytes().decode(TABLES[file.name][1])
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(text, profile, file.name))


if __name__ == "__main__":
    for table in TABLES:
        golden = DATA / "golden" / f"{table}.jsonl"
        golden.write_text(golden_lines(DATA / "tables" / table), encoding="utf-8")
