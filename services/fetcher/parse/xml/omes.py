"""Nokia's OMeS: counters are elements under a measurement type, under what was measured, under an interval."""

from services.fetcher.parse.block import Block, Head
from services.fetcher.parse.values import rows
from services.fetcher.parse.values.cells import BLANKS
from services.fetcher.parse.values.naming import joined
from services.fetcher.parse.xml.document import Document, Reader

_PREFIX = "DN:"
_COUNTER = 4
"""How deep a counter is: OMeS / PMSetup / PMMOResult / the measurement type."""

Row = tuple[str, bool, tuple[str, ...]]
Values = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Group, counters and texts of a measurement type."""


class Omes(Reader):
    """OMeS / PMSetup / PMMOResult / MO..., then any element with a measurementType, which holds the counters."""

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self.begin = self.duration = ""
        self.base = self.object = ""
        self.objects: list[str] = []
        self.names: list[str] = []
        self.texts: list[str] = []
        self.measured: list[Values] = []
        self.waiting: dict[tuple[str, str], tuple[tuple[str, ...], list[Row]]] = {}
        """Counters and rows of the interval, by element and group."""
        self.blocks: list[Block] = []

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

    def take(self) -> list[Block]:
        self._flush()
        taken, self.blocks = self.blocks, []
        return taken

    def opened(self, tag: str, attributes: dict[str, str]) -> None:
        match self.path:
            case [_]:
                self._flush()
                self.begin, self.duration = attributes.get("startTime", ""), _minutes(attributes.get("interval", ""))
            case [_, _]:
                self.objects, self.measured, self.base = [], [], ""
            case [_, _, _]:
                self.object = ""
                self.group = group_of(tag, attributes)
                self.names, self.texts = [], []
            case [*_, parent] if len(self.path) > _COUNTER:
                raise self.document.bad(f"<{tag}> within a value, <{parent}>")

    def closed(self, tag: str, text: str) -> None:
        match self.path:
            case [_, _, _, "MO"]:
                self._named(tag, text.strip(BLANKS))
            case [_, _, _] if tag == "MO":
                self.objects.append(self.object)
            case [_, _, _]:
                self.measured.append((self.group, tuple(self.names), tuple(self.texts)))
            case [_, _]:
                self._result()

    def result(
        self, measured: list[list[tuple[str, str]]], values: list[tuple[str, tuple[str, ...], tuple[str, ...]]]
    ) -> None:
        """A whole one: the parts of each MO's name, and group, counters and texts of each measurement type."""
        self.objects, self.measured, self.base = [], values, ""
        for parts in measured:
            self.object = ""
            for tag, text in parts:
                self._named(tag, text.strip(BLANKS))
            self.objects.append(self.object)
        self._result()

    def _named(self, tag: str, text: str) -> None:
        """A part of the name of what was measured: a DN, or a base and the rest of the way from there."""
        if tag == "baseId":
            self.base = self.base or text
        self.object = "/".join(part for part in (self.object, text.removeprefix(_PREFIX)) if part)

    def _result(self) -> None:
        """What was measured may stand behind the values, and may have several dimensions."""
        name = joined(*self.objects)
        for group, counters, texts in self.measured:
            key = self.base, group
            known, of_key = self.waiting.get(key, (counters, []))
            if known != counters:  # of a counter that comes twice, the first is to come first
                self._hand_on(key)
                of_key = []
            of_key.append((name, False, texts))
            self.waiting[key] = counters, of_key

    def _flush(self) -> None:
        for key in list(self.waiting):
            self._hand_on(key)

    def _hand_on(self, key: tuple[str, str]) -> None:
        counters, of_key = self.waiting.pop(key)
        element, group = key
        head = Head(element=element, group=group, duration=self.duration, begin=self.begin, counters=counters)
        self.blocks.append(rows.block(head, of_key, []))


def group_of(tag: str, attributes: dict[str, str]) -> str:
    """Of an element that holds counters."""
    return attributes.get("measurementType", tag).strip(BLANKS)


def _minutes(text: str) -> str:
    text = text.strip(BLANKS)
    return f"PT{text}M" if text.isascii() and text.isdecimal() else text
