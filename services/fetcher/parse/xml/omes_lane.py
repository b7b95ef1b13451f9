"""The fast lane of OMeS: takes results whose form is known out of the text; expat reads the rest.

The form of a PMMOResult is its tags without its texts. Expat reads the first results of each form, which proves that
the form is well-formed; then the form is learned. Later results of the form, at a point where expat proves that an
element may begin, differ only in their texts, and only these are examined.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.fetcher.parse.block import MeasInfoBlock
from services.fetcher.parse.text import lines_in
from services.fetcher.parse.values.cells import BLANKS
from services.fetcher.parse.xml.document import Document
from services.fetcher.parse.xml.omes import OmesReader, measurement_type
from services.fetcher.parse.xml.patterns import MARKUP

_BEGIN, _END = "<PMMOResult", "</PMMOResult>"
_WS = r"[ \t\r\n]*+"
_TEXT = re.compile(r">[^<>]*</")
_TAG = re.compile(r"<(/?)([A-Za-z_][\w.-]*)((?:[ \t\r\n][^<>&]*[^<>&/])?)>([ \t\r\n]*)")
_ATTRIBUTE = re.compile(r"""([\w.-]+)[ \t\r\n]*=[ \t\r\n]*(?:"([^"]*)"|'([^']*)')""")
_MAX_TAGS = 4000
"""Maximum number of tags of a form; the pattern of a larger one would take too long to compile."""
_MAX_FORMS = 1000
_READ_BEFORE_LEARNING = 8
"""Results of a form that expat reads before its pattern is compiled, which takes as long as reading some hundred."""


@dataclass(frozen=True, slots=True)
class Target:
    """A measurement type of a form, with the positions of its values among the texts of a result."""

    group: str
    names: tuple[str, ...]
    values: slice


@dataclass(frozen=True, slots=True)
class Form:
    """The form of results: a pattern whose groups are their texts, and the meaning of each group."""

    pattern: re.Pattern[str]
    measured: tuple[tuple[tuple[str, int], ...], ...]
    """The parts of each MO's name: tag, and position among the texts."""
    targets: tuple[Target, ...]


class Forms:
    """The forms that expat has read, in any document: tags are well-formed, or not, wherever they stand."""

    def __init__(self) -> None:
        self.read: dict[str, int] = {}
        """Form -> number of results that expat has read."""
        self.learned: dict[str, Form | None] = {}

    def look(self, tags: str) -> Form | None:
        """Returns the form of results with these tags if it was learned."""
        return self.learned.get(tags)

    def learn(self, tags: str) -> None:
        """Records that expat has read a result with these tags; learns its form at the eighth."""
        if len(self.read) >= _MAX_FORMS:
            self.read.clear()
        self.read[tags] = self.read.get(tags, 0) + 1
        if self.read[tags] == _READ_BEFORE_LEARNING:
            if len(self.learned) >= _MAX_FORMS:
                self.learned.clear()
            self.learned[tags] = form_of(tags)


_FORMS = Forms()


class OmesLane:
    """Reads the rest of a document whose beginning was fed to expat."""

    def __init__(self, document: Document, reader: OmesReader, piece: int) -> None:
        self.document = document
        self.reader = reader
        self.piece = piece

    def read(self, texts: Iterable[str]) -> Iterator[MeasInfoBlock]:
        """Yields all rows in the order of the document."""
        text = ""
        for more in texts:
            text += more
            if len(text) >= self.piece:
                text = text[self._read(text) :]
                yield from self.reader.take()
        self.document.feed(text[self._read(text) :])
        yield from self.reader.take()

    def _read(self, text: str) -> int:
        """Reads one run of results after the other; returns where the last, incomplete result begins."""
        begin = 0
        while (at := text.find(_BEGIN, begin)) >= 0:
            end = text.find(_END, at) + len(_END)
            if end < len(_END):
                break
            self.document.feed(text[begin:at])
            begin = self._run(text, at, text[at:end]) or end
        end = begin if at >= 0 else max(begin, text.rfind("<"))
        if len(text) - end >= self.piece:  # a result of this length is left to expat
            end = len(text)
        self.document.feed(text[begin:end])
        return end

    def _run(self, text: str, at: int, first: str) -> int:
        """Takes out the results from `at` on that have the form of the first one.

        Returns where they end; 0 if expat has read the first one instead.
        """
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
        """Hands results of the form to the reader while their texts hold no markup; returns where the last one ends."""
        scanner = form.pattern.scanner(text, at)  # type: ignore[attr-defined] # see patterns
        for match in iter(scanner.match, None):
            texts: tuple[str, ...] = match.groups()
            if MARKUP.search("\n".join(texts)):
                break
            at = match.end()
            measured = [[(part, texts[place]) for part, place in parts] for parts in form.measured]
            values = [(target.group, target.names, texts[target.values]) for target in form.targets]
            self.reader.add_result(measured, values)
        return at


def form_of(tags: str) -> Form | None:
    """Returns the form of a result without its texts; None if it holds anything but MOs and measurement types.

    >>> form = form_of("<PMMOResult><MO><DN></DN></MO><T1><M1></M1><M2></M2></T1></PMMOResult>")
    >>> form.measured, form.targets
    (((('DN', 0),),), (Target(group='T1', names=('M1', 'M2'), values=slice(1, 3, None)),))
    >>> result = "<PMMOResult> <MO><DN>BTS-1</DN></MO> <T1><M1>5</M1><M2>7</M2></T1> </PMMOResult>"
    >>> form.pattern.match(result).groups()
    ('BTS-1', '5', '7')
    """
    found = list(_TAG.finditer(tags))
    if len(found) > _MAX_TAGS or "".join(match[0] for match in found) != tags:
        return None
    builder = _FormBuilder()
    if not all(map(builder.add, found)) or builder.open_tags:
        return None
    return Form(re.compile("".join(builder.pattern)), tuple(builder.measured), tuple(builder.targets))


class _FormBuilder:
    """Builds a form tag by tag. An element at depth 1 is the result, at 2 an MO or a type, at 3 a leaf with a text."""

    def __init__(self) -> None:
        self.pattern: list[str] = []
        self.measured: list[tuple[tuple[str, int], ...]] = []
        self.targets: list[Target] = []
        self.open_tags: list[tuple[str, str]] = []
        """Tag and attributes of the elements that are open."""
        self.leaves: list[str] = []
        """Leaves of the MO or measurement type that is open."""
        self.texts = 0
        """Number of leaves so far."""

    def add(self, match: re.Match[str]) -> bool:
        """Adds a tag; returns False if results with this tag have no form."""
        is_end, tag, attributes, space = match.groups()
        literal = re.escape(match[0].rstrip(BLANKS))
        return self._end(tag, literal) if is_end else self._begin(tag, attributes, space, literal)

    def _begin(self, tag: str, attributes: str, space: str, literal: str) -> bool:
        self.open_tags.append((tag, attributes))
        depth = len(self.open_tags)
        self.pattern.append(literal + ("([^<]*+)" if depth == 3 else _WS))
        if depth == 2:
            self.leaves = []
        return depth < 3 or (depth == 3 and not space)

    def _end(self, tag: str, literal: str) -> bool:
        if not self.open_tags or self.open_tags[-1][0] != tag:
            return False
        depth = len(self.open_tags)
        _, attributes = self.open_tags.pop()
        self.pattern.append(literal + _WS)
        first = self.texts - len(self.leaves)
        if depth == 3:
            self.leaves.append(tag)
            self.texts += 1
        elif depth == 2 and tag == "MO":
            self.measured.append(tuple((part, first + at) for at, part in enumerate(self.leaves)))
        elif depth == 2:
            group = measurement_type(tag, _attributes(attributes))
            self.targets.append(Target(group, (*self.leaves,), slice(first, self.texts)))
        return True


def _attributes(text: str) -> dict[str, str]:
    return {match[1]: match[2] or match[3] or "" for match in _ATTRIBUTE.finditer(text)}
