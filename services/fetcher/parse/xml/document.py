"""One expat parser reads the whole document: well-formedness, limits, places; a dialect's reader takes what it says."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar
from xml.parsers import expat

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.block import Block
from services.fetcher.parse.xml.places import Places

MAX_DEPTH = 16
MAX_TOKEN = 16 << 20
"""Characters of one tag, comment or text."""

_PROBE_TAG = f"probe-{secrets.token_hex(8)}"
"""An element no file holds: when its start is reported, the parser stands between elements there and then."""
_PROBE = f"<{_PROBE_TAG}/>"


class Reader(ABC):
    """What a dialect makes of the elements; `start` and `end` are expat's handlers."""

    leaves: ClassVar[frozenset[str]] = frozenset()
    """Elements that hold text alone."""

    def __init__(self, document: "Document") -> None:
        self.document = document
        self.text = document.text
        self.path: list[str] = []
        self.probed = False

    @abstractmethod
    def opened(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins; `path` ends with its parent."""

    @abstractmethod
    def closed(self, tag: str, text: str) -> None:
        """An element ends; `path` ends with its parent."""

    @abstractmethod
    def take(self) -> list[Block]:
        """The rows read since the last call."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        path = self.path
        self.text.clear()
        if tag == _PROBE_TAG:
            self.probed = True
        if len(path) >= MAX_DEPTH:
            raise self.document.bad("nested too deep")
        if path and path[-1] in self.leaves:
            raise self.document.bad(f"<{tag}> within a value, <{path[-1]}>")
        tag = tag[tag.find(":") + 1 :]  # any namespace, any prefix
        self.opened(tag, attributes)
        path.append(tag)

    def end(self, _tag: str) -> None:
        text = "".join(self.text)
        self.text.clear()
        tag = self.path.pop()
        self.closed(tag, text)


class Document:
    """Feed it the text; the reader of the root element's dialect is there as soon as the root has begun."""

    def __init__(self, dialects: Mapping[str, Callable[["Document"], Reader]]) -> None:
        self.dialects = dialects
        self.root = ""
        self.reader: Reader | None = None
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
        """Read on.

        Raises:
            BadFile: not well-formed, or beyond a limit; says where.
        """
        try:
            self.parser.Parse(text, final)
        except expat.ExpatError as error:
            raise self.bad(expat.ErrorString(error.code)) from error
        self.fed += len(text)
        self.places.fed(text)
        if self.fed - self.parser.CurrentByteIndex > MAX_TOKEN or sum(map(len, self.text)) > MAX_TOKEN:
            raise self.bad(f"a tag, comment or text of more than {MAX_TOKEN} characters")

    def take(self) -> list[Block]:
        """The rows the reader has read since the last call."""
        return self.reader.take() if self.reader else []

    def is_between_elements(self) -> bool:
        """Whether the parser would take the next `<` as the begin of an element in `reader.path`.

        It is asked with an element that it may as well see, so no state of it needs to be guessed.
        """
        assert self.reader
        self.reader.probed = False
        self.feed(_PROBE)
        self.places.probed(_PROBE, between_elements=self.reader.probed)
        return self.reader.probed

    def bad(self, what: str) -> BadFile:
        """The error, at the parser's place."""
        line, column = self.places.in_file(self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber)
        return BadFile(what, line, column + 1)

    def _root(self, tag: str, attributes: dict[str, str]) -> None:
        self.root = tag[tag.find(":") + 1 :]
        dialect = self.dialects.get(self.root)
        if not dialect:
            raise self.bad(f"not a PM file, its root element is <{tag[:80]}>")
        self.reader = reader = dialect(self)
        self.parser.StartElementHandler = reader.start
        self.parser.EndElementHandler = reader.end
        reader.start(tag, attributes)

    def _entity_declared(self, name: str, *_: object) -> None:
        raise self.bad(f"declares an entity, {name[:80]!r}")

    def _entity_skipped(self, name: str, _is_parameter: object) -> None:
        raise self.bad(f"uses an entity nobody declared, {name[:80]!r}")

    def _attribute_declared(self, element: str, name: str, _kind: str, default: str | None, _required: object) -> None:
        if default is not None:  # would add what the file does not say
            raise self.bad(f"declares a default for an attribute, {element[:80]!r} {name[:80]!r}")
