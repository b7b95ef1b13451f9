"""Reads a YAML list of flat mappings with libyaml, many times as fast as in Python.

It takes only files that PyYAML's parser in Python reads as the same entries; for all others, valid or not, it returns
None, and the caller reads them in Python.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

FlatEntry = dict[str, Any]
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
MERGE = "<<"
BLOCK_STYLES = frozenset("|>")
_UNPROVEN = re.compile("[^\n -~\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Characters, such as tabs, that the two parsers treat differently in some places."""


class _UnprovenError(Exception):
    """The file contains something else than flat mappings of texts and lists."""


def flat_entries(text: str) -> list[tuple[int, FlatEntry]] | None:
    """Returns the entries with their line numbers, all scalars as text or None; None if Python must read the file."""
    loader = getattr(yaml, "CSafeLoader", None)  # missing where PyYAML was built without libyaml
    if loader is None or _UNPROVEN.search(text):
        return None
    try:
        return list(_FlatEntries(loader(text)).entries())
    except (_UnprovenError, yaml.YAMLError):
        return None


class _FlatEntries:
    """Builds entries from the events of a loader. Raises _UnprovenError for everything unusual."""

    def __init__(self, loader: Any) -> None:
        self.event = loader.get_event
        self.anchors: dict[str | None, Any] = {}

    def entries(self) -> Iterator[tuple[int, FlatEntry]]:
        self._expect(yaml.StreamStartEvent)
        self._expect(yaml.DocumentStartEvent)
        root = self._expect(yaml.SequenceStartEvent)
        self._untagged(root)
        if root.anchor is not None:
            raise _UnprovenError
        while not isinstance(event := self.event(), yaml.SequenceEndEvent):
            if not isinstance(event, yaml.MappingStartEvent) or event.start_mark is None:
                raise _UnprovenError
            self._untagged(event)
            yield event.start_mark.line + 1, self._anchored(event, self._mapping())
        self._expect(yaml.DocumentEndEvent)
        self._expect(yaml.StreamEndEvent)

    def _expect(self, kind: type[yaml.Event]) -> Any:
        event = self.event()
        if not isinstance(event, kind):
            raise _UnprovenError
        return event

    @staticmethod
    def _untagged(event: Any) -> None:
        if event.tag is not None:
            raise _UnprovenError

    @staticmethod
    def _is_plain(event: Any, value: str) -> bool:
        return isinstance(event, yaml.ScalarEvent) and bool(event.implicit[0]) and event.value == value

    def _anchored(self, event: Any, value: Any) -> Any:
        if event.anchor is not None:
            if event.anchor in self.anchors:
                raise _UnprovenError
            self.anchors[event.anchor] = value
        return value

    def _mapping(self) -> FlatEntry:
        own: FlatEntry = {}
        merged: FlatEntry | None = None
        while not isinstance(event := self.event(), yaml.MappingEndEvent):
            if self._is_plain(event, MERGE):
                if merged is not None or event.anchor is not None:
                    raise _UnprovenError
                merged = self._merged(self.event())
            elif (key := self._scalar(event)) is not None:
                own[key] = self._value(self.event())
            else:
                raise _UnprovenError
        return own if merged is None else {**merged, **own}

    def _merged(self, event: Any) -> FlatEntry:
        found = self.anchors.get(event.anchor) if isinstance(event, yaml.AliasEvent) else None
        if not isinstance(found, dict):
            raise _UnprovenError
        return found

    def _value(self, event: Any) -> str | list[str | None] | None:
        if isinstance(event, yaml.SequenceStartEvent):
            self._untagged(event)
            parts: list[str | None] = []
            while not isinstance(part := self.event(), yaml.SequenceEndEvent):
                parts.append(self._scalar(part))
            return self._anchored(event, parts)  # type: ignore[no-any-return]
        if isinstance(event, yaml.AliasEvent):
            found = self.anchors.get(event.anchor, {})
            if isinstance(found, dict):
                raise _UnprovenError
            return found  # type: ignore[no-any-return]
        return self._scalar(event)

    def _scalar(self, event: Any) -> str | None:
        if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
            raise _UnprovenError
        if event.style in BLOCK_STYLES or (event.implicit[0] and ("?" in event.value or event.value == MERGE)):
            raise _UnprovenError  # Python's parser may refuse it
        is_null = event.implicit[0] and event.value in NULLS
        return self._anchored(event, None if is_null else event.value)  # type: ignore[no-any-return]
