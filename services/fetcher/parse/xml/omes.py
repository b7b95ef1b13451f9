"""Reads Nokia's OMeS: an interval holds measured objects, these hold measurement types, and these hold the counters."""

from services.fetcher.parse.block import MeasInfoBlock, MeasInfoHead
from services.fetcher.parse.values import rows
from services.fetcher.parse.values.cells import BLANKS
from services.fetcher.parse.values.naming import joined
from services.fetcher.parse.values.rows import RowTexts
from services.fetcher.parse.xml.document import DialectReader, Document

_PREFIX = "DN:"
_COUNTER = 4
"""Number of elements around a counter: OMeS / PMSetup / PMMOResult / the measurement type."""

Values = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Group, counters and texts of a measurement type."""


class OmesReader(DialectReader):
    """Reads OMeS / PMSetup / PMMOResult: MOs, then elements with a measurementType that hold the counters."""

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self.begin = self.duration = ""
        self.line = 0
        self.base = self.object = ""
        self.objects: list[str] = []
        self.names: list[str] = []
        self.texts: list[str] = []
        self.measured: list[Values] = []
        self.waiting: dict[tuple[str, str], tuple[tuple[str, ...], list[RowTexts]]] = {}
        """Element and group -> counters and rows of the interval."""
        self.blocks: list[MeasInfoBlock] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self.path) == _COUNTER and self.path[-1] != "MO":  # most of the file
            self.text.clear()
            self.path.append(tag[tag.find(":") + 1 :])
        else:
            super().start(tag, attributes)

    def end(self, tag: str) -> None:
        path = self.path
        if len(path) == _COUNTER + 1 and path[-2] != "MO":
            self.names.append(path.pop())
            self.texts.append("".join(self.text))
            self.text.clear()
        else:
            super().end(tag)

    def take(self) -> list[MeasInfoBlock]:
        self._flush()
        taken, self.blocks = self.blocks, []
        return taken

    def opened(self, tag: str, attributes: dict[str, str]) -> None:
        match self.path:
            case [_]:
                self._flush()
                self.begin, self.duration = attributes.get("startTime", ""), _minutes(attributes.get("interval", ""))
                self.line = self.document.line
            case [_, _]:
                self.objects, self.measured, self.base = [], [], ""
            case [_, _, _]:
                self.object = ""
                self.group = measurement_type(tag, attributes)
                self.names, self.texts = [], []
            case [*_, parent] if len(self.path) > _COUNTER:
                raise self.document.bad(f"the element <{tag}> within <{parent}>, which holds only text")

    def closed(self, tag: str, text: str) -> None:
        match self.path:
            case [_, _, _, "MO"]:
                self._add_name_part(tag, text.strip(BLANKS))
            case [_, _, _] if tag == "MO":
                self.objects.append(self.object)
            case [_, _, _]:
                self.measured.append((self.group, tuple(self.names), tuple(self.texts)))
            case [_, _]:
                self._end_result()

    def add_result(self, measured: list[list[tuple[str, str]]], values: list[Values]) -> None:
        """Adds a complete PMMOResult.

        Args:
            measured: for each MO, tag and text of the parts of its name.
            values: the measurement types.
        """
        self.objects, self.measured, self.base = [], values, ""
        for parts in measured:
            self.object = ""
            for tag, text in parts:
                self._add_name_part(tag, text.strip(BLANKS))
            self.objects.append(self.object)
        self._end_result()

    def _add_name_part(self, tag: str, text: str) -> None:
        """Adds a part of the name of the measured object: a DN, or a base and the path from there."""
        if tag == "baseId":
            self.base = self.base or text
        self.object = "/".join(part for part in (self.object, text.removeprefix(_PREFIX)) if part)

    def _end_result(self) -> None:
        """Adds the rows of a PMMOResult at its end: its MOs may stand behind the values, and there may be several."""
        name = joined(*self.objects)
        for group, counters, texts in self.measured:
            key = self.base, group
            known, waiting = self.waiting.get(key, (counters, []))
            if known != counters:  # the rows that came first have to stay first
                self._flush_key(key)
                waiting = []
            waiting.append((name, False, texts))
            self.waiting[key] = counters, waiting

    def _flush(self) -> None:
        for key in list(self.waiting):
            self._flush_key(key)

    def _flush_key(self, key: tuple[str, str]) -> None:
        counters, waiting = self.waiting.pop(key)
        element, group = key
        head = MeasInfoHead(
            element=element,
            group=group,
            duration=self.duration,
            begin=self.begin,
            counters=counters,
            line=self.line,
        )
        self.blocks.append(rows.measinfo_block(head, waiting, []))


def measurement_type(tag: str, attributes: dict[str, str]) -> str:
    """Returns the measurement type of an element that holds counters: its attribute, or else its tag."""
    return attributes.get("measurementType", tag).strip(BLANKS)


def _minutes(text: str) -> str:
    text = text.strip(BLANKS)
    return f"PT{text}M" if text.isascii() and text.isdecimal() else text
