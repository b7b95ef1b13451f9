"""The counter dictionary: a VES PM Dictionary (ONAP VES event registration, PM Dictionary; O-RAN O1 names the same).

It says of each measType what its results are (`measResultType`) and in which unit (`measResultUnits`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.fetcher.preprocess.declared import UNDECLARED, DeclaredType
from services.fetcher.preprocess.yaml_file import Node, documents
from shared.settings import BadSettings

_KINDS = {
    "integer": r"((un)?signed)?(int(eger)?|short|long|longlong)\d*|unsigned\d*|uint(eger)?\d*|unit\d+|counter\d*",
    "number": r"float\d*|double|real|decimal|number|numeric",
    "text": r"string|text|char(acter)?s?|varchar|enum(eration)?|bool(ean)?",
    "vector": r"(array|list|vector|sequence|histogram)(of.*)?|.*\[\]",
}
"""Of measResultType, in small letters, without blanks and signs but []; the standard's own example says unit32."""


@dataclass(frozen=True, slots=True)
class Dictionary:
    """What is known of counters."""

    of_group: Mapping[tuple[str, str], DeclaredType] = field(default_factory=dict)
    """By measInfoId and measType."""
    of_counter: Mapping[str, DeclaredType] = field(default_factory=dict)
    """By measType alone, where all groups agree: the measInfoId of files is often another than the dictionary's."""

    def declared(self, group: str, counters: Iterable[str]) -> tuple[DeclaredType, ...]:
        """One for each counter."""
        return tuple(self.of_group.get((group, name), self.of_counter.get(name, UNDECLARED)) for name in counters)


def read(files: Iterable[Path]) -> Dictionary:
    """One of several files; where two know a counter, the later one is right.

    Raises:
        BadSettings: a file that cannot be read, is no dictionary, or contradicts itself; says where.
    """
    of_group: dict[tuple[str, str], DeclaredType] = {}
    for file in files:
        of_group |= _of_file(file)
    by_counter: dict[str, set[DeclaredType]] = {}
    for (_, counter), declared_type in of_group.items():
        by_counter.setdefault(counter, set()).add(declared_type)
    agreed = {counter: declared.pop() for counter, declared in by_counter.items() if len(declared) == 1}
    return Dictionary(of_group, agreed)


def _of_file(file: Path) -> dict[tuple[str, str], DeclaredType]:
    found: dict[tuple[str, str], DeclaredType] = {}
    lines: dict[tuple[str, str], int] = {}
    for measurement in _measurements(file):
        key, declared_type = _entry(measurement)
        if found.setdefault(key, declared_type) != declared_type:
            raise measurement.bad(f"{key[1]} is another than in line {lines[key]}")
        lines.setdefault(key, measurement.line)
    if not found:
        raise BadSettings(f"{file}: no measurement in it; a PM Dictionary has pmDictionaryMeasurements")
    return found


def _measurements(file: Path) -> Iterator[Node]:
    """Those of pmDictionary: {pmDictionaryMeasurements: [...]}, and of the older pmMetaData: {pmFields: {...}}.

    A document that describes the schema (`structure`) is passed over.
    """
    for document in documents(file):
        whole = document.mapping()
        inner = whole.get("pmDictionary") or whole.get("pmMetaData") or document
        parts = inner.mapping()
        measured = parts.get("pmDictionaryMeasurements") or parts.get("pmFields")
        if measured:
            yield from measured.items()
        elif "structure" not in parts:
            raise inner.bad(f"neither pmDictionaryMeasurements nor pmFields, but {', '.join(parts) or 'nothing'}")


def _entry(measurement: Node) -> tuple[tuple[str, str], DeclaredType]:
    fields = measurement.mapping()
    known = {name: fields[name].text() if name in fields else "" for name in _FIELDS}
    if not known["measType"]:
        raise measurement.bad("a measurement without measType")
    kind = ""
    if known["measResultType"]:
        kind = _kind(known["measResultType"])
        if not kind:
            raise fields["measResultType"].bad(
                f"measResultType {known['measResultType']!r} of {known['measType']} is none that is known: "
                "integer, uint32, float, string, array and their like"
            )
    return (known["measInfoId"], known["measType"]), DeclaredType(kind, known["measResultUnits"])


_FIELDS = ("measInfoId", "measType", "measResultType", "measResultUnits")


def _kind(result_type: str) -> str:
    plain = re.sub(r"[^a-z0-9\[\]]", "", result_type.lower())
    return next((kind for kind, pattern in _KINDS.items() if re.fullmatch(pattern, plain)), "")
