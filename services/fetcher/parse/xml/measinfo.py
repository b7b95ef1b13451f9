"""Reads the dialects with measInfos: 3GPP TS 32.435, 28.532 and 28.550 (measDataFile), and the older 32.401 (mdc)."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from services.fetcher.parse.block import MeasInfoBlock, MeasInfoHead
from services.fetcher.parse.values import rows
from services.fetcher.parse.values.cells import BLANKS
from services.fetcher.parse.values.naming import joined
from services.fetcher.parse.xml.document import DialectReader, Document
from services.fetcher.parse.xml.measured import MeasInfo, MeasValue, positions_of


class MeasInfoReader(DialectReader):
    """Reads all of these dialects: the short tags of 32.401 have the same meanings as the long ones."""

    leaves: ClassVar[frozenset[str]] = frozenset(
        "r measResults measTypes measType suspect mt moid sf mts gp neun nedn nesw sn msn".split()  # noqa: SIM905
    )

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self.prefix = self.sender = self.local = self.user_name = self.label = self.position = self.sw_version = ""
        self.period_end = self.duration = ""
        self.period_line = 0
        self.info: MeasInfo | None = None
        self.outer: list[MeasInfo | None] = []
        """The measInfos around the sets of counters (ms) that are open."""
        self.own: MeasInfo | None = None
        """The last rows of the measInfo that name counters of their own."""
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
            "ms": self._set_begins,
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
            "ms": self._set_ends,
            "msn": self._msn,
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
        self.period_line = 0

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
        line = self.period_line or self.document.line
        head = MeasInfoHead(self._element_name(), group, "", self.duration, end=self.period_end, line=line)
        head.sw_version = self.sw_version
        self._enter(MeasInfo(head))

    def _enter(self, info: MeasInfo | None) -> None:
        self._flush()
        self.info, self.own = info, None

    def _set_begins(self, _attributes: dict[str, str]) -> None:
        """Begins a set of counters (ms) within an mi: it has a name, counters and rows, and the period of the mi."""
        self.outer.append(self.info)
        if self.info:
            self._enter(MeasInfo(replace(self.info.head, counters=(), first_object=""), suspect=self.info.suspect))

    def _set_ends(self, _text: str) -> None:
        self._enter(self.outer.pop())

    def _msn(self, text: str) -> None:
        if self.info:
            self.info.head.group = text.strip(BLANKS)

    def _element_name(self) -> str:
        """Returns the element's DN, else the sender's, else the element's label, which is not part of a DN."""
        local = self.local or self.user_name or self.sender
        return joined(self.prefix, local) if local else self.label

    def _info_ends(self, _text: str) -> None:
        self._enter(None)

    def _job(self, attributes: dict[str, str]) -> None:
        if self.info:
            self.info.head.job = _attribute(attributes, "jobId")

    def _period(self, attributes: dict[str, str]) -> None:
        if self.info:
            self.info.head.duration = _attribute(attributes, "duration")
            self.info.head.end = _attribute(attributes, "endTime")
            self.info.head.line = self.document.line

    def _mts(self, text: str) -> None:
        """Takes the end of the period of a measInfo, or of all that follow."""
        if self.info:
            self.info.head.end, self.info.head.line = text.strip(BLANKS), self.document.line
        else:
            self.period_end, self.period_line = text.strip(BLANKS), self.document.line

    def _gp(self, text: str) -> None:
        if self.info:
            self.info.head.duration = text.strip(BLANKS)
        else:
            self.duration = text.strip(BLANKS)

    def _name_begins(self, attributes: dict[str, str]) -> None:
        self.position = _position(attributes)

    def _name_ends(self, text: str) -> None:
        self._name([text.strip(BLANKS)], self.position)

    def _names_end(self, text: str) -> None:
        self._name(rows.names_in(text))

    def _name(self, names: list[str], position: str = "") -> None:
        if self.row:
            self.row.name_positions += positions_of(names, position, len(self.row.names))
            self.row.names += names
        elif self.info:
            self.info.name(names, position)

    def _row_begins(self, attributes: dict[str, str]) -> None:
        self.row = MeasValue(_attribute(attributes, "measObjLdn")) if self.info else None

    def _row_ends(self, _text: str) -> None:
        info, row = self.info, self.row
        if info and row:
            row.suspect = row.suspect or info.suspect
            target = self._named_by(row, info) if row.names else info
            if target is info and self.own and (self.own.rows or self.own.faults):
                self._flush()  # rows keep the order of the file
            target.row(row)
        self.row = None

    def _named_by(self, row: MeasValue, info: MeasInfo) -> MeasInfo:
        """Returns the measInfo whose counters a row names: the open one, or else one for this row and those like it."""
        if info.is_open and not info.names:
            info.names, info.positions, info.clear = row.names, row.name_positions, None
        for known in (info, self.own):
            if known and (known.names, known.positions) == (row.names, row.name_positions):
                break
        else:
            known = MeasInfo(replace(info.head, counters=(), first_object=""), row.names, row.name_positions)
        if known is not info and (known is not self.own or info.rows or info.faults):
            self._flush()
            self.own = known
        return known

    def _moid(self, text: str) -> None:
        if self.row:
            self.row.object = text.strip(BLANKS)

    def _suspect(self, text: str) -> None:
        """Takes the flag of a row, or of all rows that follow it in a set of counters."""
        if self.row:
            self.row.suspect = rows.is_suspect(text)
        elif self.info:
            self.info.suspect = rows.is_suspect(text)

    def _result_begins(self, attributes: dict[str, str]) -> None:
        if self.row:
            self.row.positions.append(_position(attributes))

    def _result_ends(self, text: str) -> None:
        if self.row:
            self.row.results.append(text)

    def _results_end(self, text: str) -> None:
        if self.row:
            results = rows.results_in(text)
            self.row.is_ambiguous = self.row.is_ambiguous or results is None
            self.row.results += rows.xml_list(text) if results is None else results

    def _flush(self) -> None:
        for info in (self.info, self.own):
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
