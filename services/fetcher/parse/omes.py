"""Nokia's OMeS: counters are elements under a measurement type, under what was measured, under an interval."""

from services.fetcher.parse import rows
from services.fetcher.parse.block import Block, Head
from services.fetcher.parse.cells import BLANKS
from services.fetcher.parse.document import Document, Reader
from services.fetcher.parse.naming import joined

_PREFIX = "DN:"
_COUNTER = 4
"""How deep a counter is: OMeS / PMSetup / PMMOResult / the measurement type."""

Row = tuple[str, bool, tuple[str, ...]]


class Omes(Reader):
    """OMeS / PMSetup / PMMOResult / MO..., then any element with a measurementType, which holds the counters."""

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self.begin = self.duration = ""
        self.base = self.object = ""
        self.objects: list[str] = []
        self.names: list[str] = []
        self.texts: list[str] = []
        self.measured: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
        self.waiting: dict[tuple[str, str, tuple[str, ...]], list[Row]] = {}
        """Rows of the interval by element, group and counters."""
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
                self.group = attributes.get("measurementType", tag).strip(BLANKS)
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

    def _named(self, tag: str, text: str) -> None:
        """A part of the name of what was measured: a DN, or a base and the rest of the way from there."""
        if tag == "baseId":
            self.base = self.base or text
        self.object = "/".join(part for part in (self.object, text.removeprefix(_PREFIX)) if part)

    def _result(self) -> None:
        """What was measured may stand behind the values, and may have several dimensions."""
        name = joined(*self.objects)
        for group, names, texts in self.measured:
            self.waiting.setdefault((self.base, group, names), []).append((name, False, texts))

    def _flush(self) -> None:
        for (element, group, names), of_key in self.waiting.items():
            head = Head(element=element, group=group, duration=self.duration, begin=self.begin, counters=names)
            self.blocks.append(rows.block(head, of_key, []))
        self.waiting = {}


def _minutes(text: str) -> str:
    text = text.strip(BLANKS)
    return f"PT{text}M" if text.isascii() and text.isdecimal() else text
