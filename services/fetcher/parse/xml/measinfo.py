"""Reads the dialects with measInfos: 3GPP TS 32.435, 28.532 and 28.550 (measDataFile), and the older 32.401 (mdc)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from services.fetcher.parse.block import Fault, MeasInfoBlock, MeasInfoHead
from services.fetcher.parse.values import rows
from services.fetcher.parse.values.cells import BLANKS
from services.fetcher.parse.values.naming import joined
from services.fetcher.parse.values.rows import RowTexts
from services.fetcher.parse.xml.document import DialectReader, Document
from services.fetcher.reasons import COUNT_MISMATCH, DUPLICATE_P, LATE_NAME, UNKNOWN_P


@dataclass(slots=True)
class MeasInfo:
    """The measInfo that is being read."""

    head: MeasInfoHead
    names: list[str] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)
    """The p of each counter: the one in the file, or else its position in the list."""
    is_open: bool = True
    """True while counters may still be named: until the first row."""
    rows: list[RowTexts] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    clear: bool | None = None
    """The known result of `is_clear`."""

    def name(self, names: list[str], position: str = "") -> None:
        """Adds counters; a counter that is named after the first row is a fault."""
        if self.is_open:
            self.clear = None
            begin = len(self.names) + 1
            self.names += names
            self.positions += [position] if position else map(str, range(begin, begin + len(names)))
        else:
            self.faults += [Fault(LATE_NAME, name, suspect=False, results=(), positions=(position,)) for name in names]

    def close(self, first_object: str) -> None:
        """Ends the list of counters at the first row; later calls change nothing."""
        if self.is_open:
            self.is_open = False
            self.head.counters = tuple(self.names)
            self.head.first_object = first_object

    @property
    def is_clear(self) -> bool:
        """True if each counter has a p of its own."""
        if self.clear is None:
            self.clear = len(set(self.positions)) == len(self.positions)
        return self.clear

    def row(self, row: "MeasValue") -> None:
        """Adds a complete row, as a fault if it does not fit the counters."""
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
    """Returns why values with these p cannot be assigned to counters; empty if they can."""
    if len(positions) != results:
        return COUNT_MISMATCH
    if len(set(positions)) < len(positions):
        return DUPLICATE_P
    return "" if set(positions) <= set(expected) else UNKNOWN_P


@dataclass(slots=True)
class MeasValue:
    """The row (measValue, mv) that is being read."""

    object: str
    suspect: bool = False
    results: list[str] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)


class MeasInfoReader(DialectReader):
    """Reads all of these dialects: the short tags of 32.401 have the same meanings as the long ones."""

    leaves: ClassVar[frozenset[str]] = frozenset(
        "r measResults measTypes measType suspect mt moid sf mts gp neun nedn nesw sn".split()  # noqa: SIM905 - too long
    )

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self.prefix = self.sender = self.local = self.user_name = self.label = self.position = self.sw_version = ""
        self.period_end = self.duration = ""
        self.info: MeasInfo | None = None
        self.row: MeasValue | None = None
        self.blocks: list[MeasInfoBlock] = []
        self.begins = self._begin_handlers()
        self.ends = self._end_handlers()

    def _begin_handlers(self) -> dict[str, Callable[[dict[str, str]], None]]:
        return {
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

    def _end_handlers(self) -> dict[str, Callable[[str], None]]:
        return {
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
            "nesw": self._nesw,
            "mts": self._mts,
            "gp": self._gp,
        }

    def opened(self, tag: str, attributes: dict[str, str]) -> None:
        if (begins := self.begins.get(tag)) is not None:
            begins(attributes)

    def closed(self, tag: str, text: str) -> None:
        if (ends := self.ends.get(tag)) is not None:
            ends(text)

    def take(self) -> list[MeasInfoBlock]:
        self._flush()
        taken, self.blocks = self.blocks, []
        return taken

    def name_all(self, counters: tuple[str, ...], positions: tuple[str, ...]) -> bool:
        """Names all counters of the open measInfo; returns False if there is none or it has counters or rows."""
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
        self.local = self.user_name = self.label = self.sw_version = self.period_end = self.duration = ""

    def _element(self, attributes: dict[str, str]) -> None:
        self.local = _attribute(attributes, "localDn")
        self.label = _attribute(attributes, "userLabel")
        self.sw_version = _attribute(attributes, "swVersion")

    def _nedn(self, text: str) -> None:
        self.local = text.strip(BLANKS)

    def _neun(self, text: str) -> None:
        self.user_name = text.strip(BLANKS)

    def _nesw(self, text: str) -> None:
        self.sw_version = text.strip(BLANKS)

    def _info_begins(self, attributes: dict[str, str]) -> None:
        group = _attribute(attributes, "measInfoId")
        head = MeasInfoHead(element=self._element_name(), group=group, end=self.period_end, duration=self.duration)
        head.sw_version = self.sw_version
        self.info = MeasInfo(head)

    def _element_name(self) -> str:
        """Returns the element's DN, else the sender's, else the element's label, which is not part of a DN."""
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
        """Takes the end of the period of a measInfo, or of all that follow."""
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
            self.info.name(rows.xml_list(text))

    def _row_begins(self, attributes: dict[str, str]) -> None:
        self.row = MeasValue(_attribute(attributes, "measObjLdn")) if self.info else None

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
            self.row.results += rows.xml_list(text)

    def _flush(self) -> None:
        info = self.info
        if info and (info.rows or info.faults):
            self.blocks.append(rows.measinfo_block(info.head, info.rows, info.faults))
            info.rows, info.faults = [], []


def _attribute(attributes: dict[str, str], name: str) -> str:
    """Returns an attribute with or without a namespace prefix; empty if it is missing."""
    found = attributes.get(name)
    if found is None:
        found = next((value for key, value in attributes.items() if key.endswith(":" + name)), "")
    return found.strip(BLANKS)


def _position(attributes: dict[str, str]) -> str:
    """Returns the p of a counter or value without leading zeros."""
    p = _attribute(attributes, "p")
    return p.lstrip("0") or p[:1]
