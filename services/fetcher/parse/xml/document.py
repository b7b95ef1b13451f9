"""Reads a whole document by one expat parser, which checks it; the reader of its dialect gets the elements."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar
from xml.parsers import expat

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.block import MeasInfoBlock
from services.fetcher.parse.text import NO_CHARACTER
from services.fetcher.parse.xml.places import Places

MAX_DEPTH = 16
"""Maximum depth of nested elements."""
MAX_TOKEN = 16 << 20
"""Maximum length in characters of one tag, comment or text."""

_PROBE_TAG = f"probe-{secrets.token_hex(8)}"
"""An element that no file contains: if the parser reports its start, it stood between elements at that point."""
_PROBE = f"<{_PROBE_TAG}/>"


class DialectReader(ABC):
    """Turns the elements of one dialect into blocks; `start` and `end` are expat's handlers."""

    leaves: ClassVar[frozenset[str]] = frozenset()
    """Elements that may hold only text."""

    def __init__(self, document: "Document") -> None:
        self.document = document
        self.text = document.text
        self.path: list[str] = []
        self.probed = False

    @abstractmethod
    def opened(self, tag: str, attributes: dict[str, str]) -> None:
        """Handles the start of an element; `path` ends with its parent."""

    @abstractmethod
    def closed(self, tag: str, text: str) -> None:
        """Handles the end of an element; `path` ends with its parent."""

    @abstractmethod
    def take(self) -> list[MeasInfoBlock]:
        """Returns the rows read since the last call."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        path = self.path
        self.text.clear()
        if tag == _PROBE_TAG:
            self.probed = True
        if len(path) >= MAX_DEPTH:
            raise self.document.bad(f"elements are nested deeper than {MAX_DEPTH} levels")
        if path and path[-1] in self.leaves:
            raise self.document.bad(f"the element <{tag}> within <{path[-1]}>, which holds only text")
        tag = tag[tag.find(":") + 1 :]  # any namespace, any prefix
        self.opened(tag, attributes)
        path.append(tag)

    def end(self, _tag: str) -> None:
        text = "".join(self.text)
        self.text.clear()
        tag = self.path.pop()
        self.closed(tag, text)


class Document:
    """Parses the text that it is fed; `reader` is set as soon as the root element has begun."""

    def __init__(
        self,
        dialects: Mapping[str, Callable[["Document"], DialectReader]],
        undecodable: Callable[[], str] = lambda: "",
    ) -> None:
        """Args: undecodable: returns a description of the bytes for which the text has NO_CHARACTER."""
        self.dialects = dialects
        self.undecodable = undecodable
        self.root = ""
        self.reader: DialectReader | None = None
        self.text: list[str] = []
        self.fed = 0
        self.places = Places()
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._root
        parser.CharacterDataHandler = self.text.append
        parser.EntityDeclHandler = self._entity_declared
        parser.SkippedEntityHandler = self._entity_skipped
        parser.AttlistDeclHandler = self._attribute_declared

    def feed(self, text: str, *, final: bool = False) -> None:
        """Parses the next part of the text.

        Raises:
            BadFile: the document is not well-formed or exceeds a limit; says where.
        """
        try:
            self.parser.Parse(text, final)
        except expat.ExpatError as error:
            what = self.undecodable() if self._is_at_undecodable(text) else ""
            raise self.bad(what or expat.ErrorString(error.code)) from error
        self.fed += len(text)
        self.places.fed(text)
        if self.fed - self.parser.CurrentByteIndex > MAX_TOKEN or sum(map(len, self.text)) > MAX_TOKEN:
            raise self.bad(f"a tag, comment or text is longer than {MAX_TOKEN} characters")

    def _is_at_undecodable(self, text: str) -> bool:
        """Returns True if the parser refuses the text that it is fed because of undecodable bytes."""
        before, found, _ = text.partition(NO_CHARACTER)
        place = self.parser.ErrorLineNumber, self.parser.ErrorColumnNumber
        return bool(found) and self.places.behind(before) == place

    def take(self) -> list[MeasInfoBlock]:
        """Returns the rows that the reader has read since the last call."""
        return self.reader.take() if self.reader else []

    def is_between_elements(self) -> bool:
        """Returns True if the parser would take the next `<` as the begin of an element within `reader.path`.

        It is fed a probe element and reports whether it saw it, so that none of its states has to be guessed.
        """
        assert self.reader
        self.reader.probed = False
        self.feed(_PROBE)
        self.places.probed(_PROBE, between_elements=self.reader.probed)
        return self.reader.probed

    def bad(self, what: str) -> BadFile:
        """Returns an error at the parser's position."""
        line, column = self._place()
        return BadFile(what, line, column + 1)

    @property
    def line(self) -> int:
        """The line of the tag that the parser is reading."""
        return self._place()[0]

    def _place(self) -> tuple[int, int]:
        return self.places.in_file(self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber)

    def _root(self, tag: str, attributes: dict[str, str]) -> None:
        self.root = tag[tag.find(":") + 1 :]
        dialect = self.dialects.get(self.root)
        if not dialect:
            raise self.bad(f"not a PM file: its root element is <{tag[:80]}>")
        self.reader = reader = dialect(self)
        self.parser.StartElementHandler = reader.start
        self.parser.EndElementHandler = reader.end
        reader.start(tag, attributes)

    def _entity_declared(self, name: str, *_: object) -> None:
        raise self.bad(f"the document declares an entity, {name[:80]!r}")

    def _entity_skipped(self, name: str, _is_parameter: object) -> None:
        raise self.bad(f"the document uses an undeclared entity, {name[:80]!r}")

    def _attribute_declared(self, element: str, name: str, _kind: str, default: str | None, _required: object) -> None:
        if default is not None:  # would add values that are not in the file
            raise self.bad(f"the document declares a default for an attribute, {element[:80]!r} {name[:80]!r}")
