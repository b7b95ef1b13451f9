"""The fast lane of OMeS: results written as others before them are taken out of the text; expat reads the rest.

The first results of each form are read by expat, and their form learned: all of their tags, with holes for the texts.
Of others of that form, where expat says that an element may begin, only the texts are new; they are looked through.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.fetcher.parse.block import Block
from services.fetcher.parse.text import lines_in
from services.fetcher.parse.values.cells import BLANKS
from services.fetcher.parse.xml.document import Document
from services.fetcher.parse.xml.omes import Omes, group_of
from services.fetcher.parse.xml.patterns import MARKUP

_BEGIN, _END = "<PMMOResult", "</PMMOResult>"
_WS = r"[ \t\r\n]*+"
_TEXT = re.compile(r">[^<>]*</")
_TAG = re.compile(r"<(/?)([A-Za-z_][\w.-]*)((?:[ \t\r\n][^<>&]*[^<>&/])?)>([ \t\r\n]*)")
_ATTRIBUTE = re.compile(r"""([\w.-]+)[ \t\r\n]*=[ \t\r\n]*(?:"([^"]*)"|'([^']*)')""")
_MOST_TAGS = 4000
"""Of a form; the pattern of a larger one would take too long to compile."""
_MOST_FORMS = 1000
_ENOUGH = 8
"""Results of a form that expat reads before its pattern is compiled, which takes as long as reading some hundred."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where among the texts the values of a measurement type are."""

    group: str
    names: tuple[str, ...]
    values: slice


@dataclass(frozen=True, slots=True)
class Form:
    """A result without its texts, which are the groups of the pattern."""

    pattern: re.Pattern[str]
    measured: tuple[tuple[tuple[str, int], ...], ...]
    """Of each MO, its parts, and where among the texts each of theirs is."""
    targets: tuple[Target, ...]


class Forms:
    """What expat has read, in whichever document: tags are well-formed, or not, wherever they stand."""

    def __init__(self) -> None:
        self.read: dict[str, int] = {}
        self.learned: dict[str, Form | None] = {}

    def look(self, tags: str) -> Form | None:
        """The form of results with these tags, if it was learned."""
        return self.learned.get(tags)

    def learn(self, tags: str) -> None:
        """Expat has read a result with these tags."""
        if len(self.read) >= _MOST_FORMS:
            self.read.clear()
        self.read[tags] = self.read.get(tags, 0) + 1
        if self.read[tags] == _ENOUGH:
            if len(self.learned) >= _MOST_FORMS:
                self.learned.clear()
            self.learned[tags] = form_of(tags)


_FORMS = Forms()


class OmesLane:
    """Reads the text of one document, from wherever the document has been read."""

    def __init__(self, document: Document, reader: Omes, piece: int) -> None:
        self.document = document
        self.reader = reader
        self.piece = piece

    def read(self, texts: Iterable[str]) -> Iterator[Block]:
        """All rows, in the order of the document."""
        text = ""
        for more in texts:
            text += more
            if len(text) >= self.piece:
                text = text[self._read(text) :]
                yield from self.reader.take()
        self.document.feed(text[self._read(text) :])
        yield from self.reader.take()

    def _read(self, text: str) -> int:
        """Reads result by result, or rather run of results by run; returns where the last, incomplete one begins."""
        begin = 0
        while (at := text.find(_BEGIN, begin)) >= 0:
            end = text.find(_END, at) + len(_END)
            if end < len(_END):
                break
            self.document.feed(text[begin:at])
            begin = self._run(text, at, text[at:end]) or end
        end = begin if at >= 0 else max(begin, text.rfind("<"))
        if len(text) - end >= self.piece:  # no end in sight
            end = len(text)
        self.document.feed(text[begin:end])
        return end

    def _run(self, text: str, at: int, first: str) -> int:
        """Takes out the results of the first one's form from there on; where they end. 0: expat has read it."""
        tags = _TEXT.sub("></", first)
        is_in_setup = len(self.reader.path) == 2 and self.document.is_between_elements()
        form = _FORMS.look(tags) if is_in_setup else None
        end = self._taken(text, at, form) if form else at
        if end > at:
            self.document.places.hidden(text, at, end, lines_in(text, at, end))
            return end
        self.document.feed(first)
        if is_in_setup and "<!" not in first and "<?" not in first:
            _FORMS.learn(tags)
        return 0

    def _taken(self, text: str, at: int, form: Form) -> int:
        """Where the last result ends whose texts mean nothing in XML."""
        scanner = form.pattern.scanner(text, at)  # type: ignore[attr-defined] # see patterns
        for match in iter(scanner.match, None):
            texts: tuple[str, ...] = match.groups()
            if MARKUP.search("\n".join(texts)):
                break
            at = match.end()
            measured = [[(part, texts[place]) for part, place in parts] for parts in form.measured]
            values = [(target.group, target.names, texts[target.values]) for target in form.targets]
            self.reader.result(measured, values)
        return at


def form_of(tags: str) -> Form | None:
    """Of a result without its texts; None when it is anything else than MOs and measurement types with leaves."""
    found = list(_TAG.finditer(tags))
    if len(found) > _MOST_TAGS or "".join(match[0] for match in found) != tags:
        return None
    pattern: list[str] = []
    measured: list[tuple[tuple[str, int], ...]] = []
    targets: list[Target] = []
    leaves: list[str] = []
    open_tags: list[tuple[str, str]] = []
    texts = 0
    for match in found:
        is_end, tag, attributes, space = match.groups()
        literal = re.escape(match[0].rstrip(BLANKS))
        if not is_end:
            open_tags.append((tag, attributes))
            pattern.append(literal + ("([^<]*+)" if len(open_tags) == 3 else _WS))
            if len(open_tags) > 3 or (len(open_tags) == 3 and space):
                return None
            if len(open_tags) == 2:
                leaves = []
            continue
        if not open_tags or open_tags[-1][0] != tag:
            return None
        _, attributes = open_tags.pop()
        pattern.append(literal + _WS)
        match len(open_tags):
            case 2:
                leaves.append(tag)
                texts += 1
            case 1 if tag == "MO":
                measured.append(tuple((part, texts - len(leaves) + at) for at, part in enumerate(leaves)))
            case 1:
                targets.append(
                    Target(group_of(tag, _attributes(attributes)), (*leaves,), slice(texts - len(leaves), texts))
                )
    return None if open_tags else Form(re.compile("".join(pattern)), tuple(measured), tuple(targets))


def _attributes(text: str) -> dict[str, str]:
    return {match[1]: match[2] or match[3] or "" for match in _ATTRIBUTE.finditer(text)}
