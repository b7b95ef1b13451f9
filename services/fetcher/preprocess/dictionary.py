"""Reads counter dictionaries: VES PM Dictionaries (ONAP VES event registration; O-RAN O1 refers to the same).

A dictionary declares the type (`measResultType`) and the unit (`measResultUnits`) of each measType.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.fetcher.preprocess.declared import UNDECLARED, DeclaredType
from services.fetcher.preprocess.yaml_file import Node, yaml_documents
from shared.settings import BadSettings

_KINDS = {
    "integer": r"((un)?signed)?(int(eger)?|short|long|longlong)\d*|unsigned\d*|uint(eger)?\d*|unit\d+|counter\d*",
    "number": r"float\d*|double|real|decimal|number|numeric",
    "text": r"string|text|char(acter)?s?|varchar|enum(eration)?|bool(ean)?",
    "vector": r"(array|list|vector|sequence|histogram)(of.*)?|.*\[\]",
}
"""Our type -> the spellings of measResultType, in lower case and without any character but letters, digits and [].

The standard's own example spells uint32 as unit32.
"""


@dataclass(frozen=True, slots=True)
class Dictionary:
    """The declared types of counters."""

    by_group: Mapping[tuple[str, str], DeclaredType] = field(default_factory=dict)
    """measInfoId and measType -> declared type."""
    by_counter: Mapping[str, DeclaredType] = field(default_factory=dict)
    """measType -> declared type where all groups agree: files often have another measInfoId than the dictionary."""

    def declared(self, group: str, counters: Iterable[str]) -> tuple[DeclaredType, ...]:
        """Returns one declared type per counter."""
        return tuple(self.by_group.get((group, name), self.by_counter.get(name, UNDECLARED)) for name in counters)


def read_dictionary(files: Iterable[Path]) -> Dictionary:
    """Reads several files into one dictionary; a later file overrides an earlier one.

    Raises:
        BadSettings: a file cannot be read, is not a dictionary, or contradicts itself; says where.
    """
    by_group: dict[tuple[str, str], DeclaredType] = {}
    for file in files:
        by_group |= _read_file(file)
    declarations: dict[str, set[DeclaredType]] = {}
    for (_, counter), declared_type in by_group.items():
        declarations.setdefault(counter, set()).add(declared_type)
    agreed = {counter: declared.pop() for counter, declared in declarations.items() if len(declared) == 1}
    return Dictionary(by_group, agreed)


def _read_file(file: Path) -> dict[tuple[str, str], DeclaredType]:
    found: dict[tuple[str, str], DeclaredType] = {}
    lines: dict[tuple[str, str], int] = {}
    for measurement in _measurements(file):
        key, declared_type = _entry(measurement)
        if found.setdefault(key, declared_type) != declared_type:
            raise measurement.bad(f"{key[1]} is declared differently than in line {lines[key]}")
        lines.setdefault(key, measurement.line)
    if not found:
        raise BadSettings(f"{file}: no measurement found; a PM Dictionary lists them under pmDictionaryMeasurements")
    return found


def _measurements(file: Path) -> Iterator[Node]:
    """Yields the measurements of pmDictionary.pmDictionaryMeasurements or the older pmMetaData.pmFields.

    A document that describes the schema (`structure`) is skipped.
    """
    for document in yaml_documents(file):
        whole = document.mapping()
        inner = whole.get("pmDictionary") or whole.get("pmMetaData") or document
        parts = inner.mapping()
        measured = parts.get("pmDictionaryMeasurements") or parts.get("pmFields")
        if measured:
            yield from measured.items()
        elif "structure" not in parts:
            raise inner.bad(f"expected pmDictionaryMeasurements or pmFields, found {', '.join(parts) or 'nothing'}")


def _entry(measurement: Node) -> tuple[tuple[str, str], DeclaredType]:
    fields = measurement.mapping()
    known = {name: fields[name].text() if name in fields else "" for name in _FIELDS}
    if not known["measType"]:
        raise measurement.bad("a measurement has no measType")
    kind = ""
    if known["measResultType"]:
        kind = _kind(known["measResultType"])
        if not kind:
            raise fields["measResultType"].bad(
                f"measResultType {known['measResultType']!r} of {known['measType']} is not a known type; "
                "known are integer, uint32, float, string, array and similar names"
            )
    return (known["measInfoId"], known["measType"]), DeclaredType(kind, known["measResultUnits"])


_FIELDS = ("measInfoId", "measType", "measResultType", "measResultUnits")


def _kind(result_type: str) -> str:
    plain = re.sub(r"[^a-z0-9\[\]]", "", result_type.lower())
    return next((kind for kind, pattern in _KINDS.items() if re.fullmatch(pattern, plain)), "")
