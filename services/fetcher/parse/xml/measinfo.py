"""The dialects whose files hold measInfos: 3GPP TS 32.435, 28.532 and 28.550 (measDataFile), the older 32.401 (mdc)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from services.fetcher.parse.block import Block, Fault, Head
from services.fetcher.parse.values import rows
from services.fetcher.parse.values.cells import BLANKS
from services.fetcher.parse.values.naming import joined
from services.fetcher.parse.xml.document import Document, Reader
from services.fetcher.reasons import COUNT_MISMATCH, DUPLICATE_P, LATE_NAME, UNKNOWN_P


@dataclass(slots=True)
class Info:
    """The measInfo being read."""

    head: Head
    names: list[str] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)
    """The p of each counter: the one written, else its place in the list."""
    is_open: bool = True
    """Counters may still be named; the first row closes it."""
    rows: list[tuple[str, bool, tuple[str, ...]]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    clear: bool | None = None

    def name(self, names: list[str], position: str = "") -> None:
        """Counters are named."""
        if self.is_open:
            self.clear = None
            begin = len(self.names) + 1
            self.names += names
            self.positions += [position] if position else map(str, range(begin, begin + len(names)))
        else:
            self.faults += [Fault(LATE_NAME, name, suspect=False, results=(), positions=(position,)) for name in names]

    def close(self, first_object: str) -> None:
        """Rows begin, unless they did before."""
        if self.is_open:
            self.is_open = False
            self.head.counters = tuple(self.names)
            self.head.first_object = first_object

    @property
    def is_clear(self) -> bool:
        """Each counter has a p of its own."""
        if self.clear is None:
            self.clear = len(set(self.positions)) == len(self.positions)
        return self.clear

    def row(self, row: "Row") -> None:
        """A row has ended: it fits, or it is a fault."""
        self.close(row.object)
        results, positions = row.results, row.positions
        reason = ""
        if not self.is_clear:
            reason = DUPLICATE_P
        elif any(positions) and positions != self.positions:
            reason = _misplaced(positions, self.positions, len(results))
            at = dict(zip(positions, results, strict=False))
            results = [at.get(p, "") for p in self.positions]
        elif not results:  # all of them left out
            results = [""] * len(self.names)
        elif len(results) != len(self.names):
            reason = COUNT_MISMATCH
        if reason:
            self.faults.append(Fault(reason, row.object, row.suspect, tuple(row.results), tuple(positions)))
        else:
            self.rows.append((row.object, row.suspect, tuple(results)))


def _misplaced(positions: list[str], expected: list[str], results: int) -> str:
    if len(positions) != results:
        return COUNT_MISMATCH
    if len(set(positions)) < len(positions):
        return DUPLICATE_P
    return "" if set(positions) <= set(expected) else UNKNOWN_P


@dataclass(slots=True)
class Row:
    """The measValue being read."""

    object: str
    suspect: bool = False
    results: list[str] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)


class MeasInfos(Reader):
    """Reads them all: the older words of 32.401 mean the same things."""

    leaves: ClassVar[frozenset[str]] = frozenset(
        ("r", "measResults", "measTypes", "measType", "suspect", "mt", "moid", "sf", "mts", "gp", "neun", "nedn", "sn")
    )

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self.prefix = self.sender = self.local = self.user_name = self.label = self.position = ""
        self.period_end = self.duration = ""
        self.info: Info | None = None
        self.row: Row | None = None
        self.blocks: list[Block] = []
        self.begins: dict[str, Callable[[dict[str, str]], None]] = {
            "r": self._result_begins,
            "measValue": self._row_begins,
            "mv": self._row_begins,
            "measType": self._name_begins,
            "mt": self._name_begins,
            "measInfo": self._info_begins,
            "mi": self._info_begins,
            "job": self._job,
            "granPeriod": self._period,
            "measData": self._data_begins,
            "md": self._data_begins,
            "managedElement": self._element,
            "measEntity": self._element,
            "measuredEntity": self._element,
            "fileHeader": self._header,
            "fileSender": self._sender,
        }
        self.ends: dict[str, Callable[[str], None]] = {
            "r": self._result_ends,
            "measResults": self._results_end,
            "measValue": self._row_ends,
            "mv": self._row_ends,
            "measType": self._name_ends,
            "mt": self._name_ends,
            "measTypes": self._names_end,
            "suspect": self._suspect,
            "sf": self._suspect,
            "moid": self._moid,
            "measInfo": self._info_ends,
            "mi": self._info_ends,
            "sn": self._sn,
            "nedn": self._nedn,
            "neun": self._neun,
            "mts": self._mts,
            "gp": self._gp,
        }

    def opened(self, tag: str, attributes: dict[str, str]) -> None:
        if (begins := self.begins.get(tag)) is not None:
            begins(attributes)

    def closed(self, tag: str, text: str) -> None:
        if (ends := self.ends.get(tag)) is not None:
            ends(text)

    def take(self) -> list[Block]:
        self._flush()
        taken, self.blocks = self.blocks, []
        return taken

    def name_all(self, counters: tuple[str, ...], positions: tuple[str, ...]) -> bool:
        """The counters of the measInfo that is open, unless some are named already."""
        if not self.info or self.info.names or not self.info.is_open:
            return False
        self.info.names += counters
        self.info.positions += positions
        self.info.clear = None
        return True

    def _header(self, attributes: dict[str, str]) -> None:
        self.prefix = _attribute(attributes, "dnPrefix")

    def _sender(self, attributes: dict[str, str]) -> None:
        self.sender = _attribute(attributes, "localDn") or _attribute(attributes, "senderName")

    def _sn(self, text: str) -> None:
        self.sender = text.strip(BLANKS)

    def _data_begins(self, _attributes: dict[str, str]) -> None:
        self.local = self.user_name = self.label = self.period_end = self.duration = ""

    def _element(self, attributes: dict[str, str]) -> None:
        self.local = _attribute(attributes, "localDn")
        self.label = _attribute(attributes, "userLabel")

    def _nedn(self, text: str) -> None:
        self.local = text.strip(BLANKS)

    def _neun(self, text: str) -> None:
        self.user_name = text.strip(BLANKS)

    def _info_begins(self, attributes: dict[str, str]) -> None:
        group = _attribute(attributes, "measInfoId")
        self.info = Info(Head(element=self._element_name(), group=group, end=self.period_end, duration=self.duration))

    def _element_name(self) -> str:
        """Its DN, else the sender's; else its label, which is no part of one."""
        local = self.local or self.user_name or self.sender
        return joined(self.prefix, local) if local else self.label

    def _info_ends(self, _text: str) -> None:
        self._flush()
        self.info = None

    def _job(self, attributes: dict[str, str]) -> None:
        if self.info:
            self.info.head.job = _attribute(attributes, "jobId")

    def _period(self, attributes: dict[str, str]) -> None:
        if self.info:
            self.info.head.duration = _attribute(attributes, "duration")
            self.info.head.end = _attribute(attributes, "endTime")

    def _mts(self, text: str) -> None:
        """Of a measInfo, or before all of them."""
        if self.info:
            self.info.head.end = text.strip(BLANKS)
        else:
            self.period_end = text.strip(BLANKS)

    def _gp(self, text: str) -> None:
        if self.info:
            self.info.head.duration = text.strip(BLANKS)
        else:
            self.duration = text.strip(BLANKS)

    def _name_begins(self, attributes: dict[str, str]) -> None:
        self.position = _position(attributes)

    def _name_ends(self, text: str) -> None:
        if self.info:
            self.info.name([text.strip(BLANKS)], self.position)

    def _names_end(self, text: str) -> None:
        if self.info:
            self.info.name(rows.split(text))

    def _row_begins(self, attributes: dict[str, str]) -> None:
        self.row = Row(_attribute(attributes, "measObjLdn")) if self.info else None

    def _row_ends(self, _text: str) -> None:
        if self.info and self.row:
            self.info.row(self.row)
        self.row = None

    def _moid(self, text: str) -> None:
        if self.row:
            self.row.object = text.strip(BLANKS)

    def _suspect(self, text: str) -> None:
        if self.row:
            self.row.suspect = rows.is_suspect(text)

    def _result_begins(self, attributes: dict[str, str]) -> None:
        if self.row:
            self.row.positions.append(_position(attributes))

    def _result_ends(self, text: str) -> None:
        if self.row:
            self.row.results.append(text)

    def _results_end(self, text: str) -> None:
        if self.row:
            self.row.results += rows.split(text)

    def _flush(self) -> None:
        info = self.info
        if info and (info.rows or info.faults):
            self.blocks.append(rows.block(info.head, info.rows, info.faults))
            info.rows, info.faults = [], []


def _attribute(attributes: dict[str, str], name: str) -> str:
    """With or without a prefix."""
    found = attributes.get(name)
    if found is None:
        found = next((value for key, value in attributes.items() if key.endswith(":" + name)), "")
    return found.strip(BLANKS)


def _position(attributes: dict[str, str]) -> str:
    p = _attribute(attributes, "p")
    return p.lstrip("0") or p[:1]
