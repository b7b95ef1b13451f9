"""The objects that a writer remembers: those of the elements that it saw last, up to a limit. Pure."""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import orjson

MOST_CLASSES = 10_000
"""Limit of the different classes that are kept once; an operator's network has a few dozen."""
OBJECTS_IN_MEMORY = 3_000_000
"""Limit of the objects that a writer remembers unless the settings say otherwise."""
MOST_OPEN = 20_000
"""Limit of the objects that are ready to be looked up; those of all other elements are packed."""
FASTEST = 1
ElementKey = tuple[str, str]
"""System, element."""


class KnownObject(NamedTuple):
    """An object of the dictionary."""

    number: int
    """pm_object.id."""
    classes: tuple[str, ...]
    """The classes of the components of its name, if the system splits names."""


class Packed(NamedTuple):
    """The objects of an element, compressed: 10 to 20 bytes each instead of 300, as their names are much alike."""

    objects: int
    content: bytes


class ObjectCache:
    """Known objects by element, because all objects of an element come together, once per period.

    The objects of the elements that came last are open; when there are too many, the element that was opened first is
    packed. Packed elements are in two halves. When the recent half is full, it becomes the older one, and what is still
    in the older half is forgotten; an element that is asked for moves to the recent half.
    """

    def __init__(self, most: int) -> None:
        """`most` is the number of objects that are remembered, about."""
        self.most_open = min(MOST_OPEN, most // 10)
        self.most_recent = most // 3
        self.open: dict[ElementKey, dict[str, KnownObject]] = {}
        self.opened = 0
        self.changed: set[ElementKey] = set()
        """Open elements that must be packed again."""
        self.recent: dict[ElementKey, Packed] = {}
        self.older: dict[ElementKey, Packed] = {}
        self.in_recent = 0
        self.classes: dict[tuple[str, ...], tuple[str, ...]] = {}
        """Makes equal classes the same object."""

    def __len__(self) -> int:
        packed = {key: found.objects for key, found in (*self.older.items(), *self.recent.items())}
        return sum((packed | {key: len(found) for key, found in self.open.items()}).values())

    def of_element(self, system: str, element: str) -> Mapping[str, KnownObject]:
        """Returns the objects of an element by ldn."""
        return self._of_element((system, element))

    def add(self, system: str, element: str, ldn: str, known: KnownObject) -> None:
        """Remembers an object."""
        key = system, element
        of_element = self._of_element(key)
        self.opened += ldn not in of_element
        of_element[ldn] = known._replace(classes=self._same(known.classes))
        self.changed.add(key)

    def _of_element(self, key: ElementKey) -> dict[str, KnownObject]:
        found = self.open.get(key)
        if found is None:
            found = self.open[key] = self._unpacked(key)
            self.opened += len(found)
            while self.opened > self.most_open and len(self.open) > 1:
                self._close(next(iter(self.open)))
        return found

    def _close(self, key: ElementKey) -> None:
        found = self.open.pop(key)
        self.opened -= len(found)
        if key in self.changed:
            self.changed.remove(key)
            self.older.pop(key, None)
            if forgotten := self.recent.pop(key, None):
                self.in_recent -= forgotten.objects
            rows = [[ldn, known.number, *known.classes] for ldn, known in found.items()]
            self._keep(key, Packed(len(rows), zlib.compress(orjson.dumps(rows), FASTEST)))

    def _keep(self, key: ElementKey, packed: Packed) -> None:
        """Adds an element to the recent half; if it is full, it becomes the older one first."""
        if self.in_recent > self.most_recent:
            self.recent, self.older, self.in_recent = {}, self.recent, 0
        self.recent[key] = packed
        self.in_recent += packed.objects

    def _unpacked(self, key: ElementKey) -> dict[str, KnownObject]:
        packed = self.recent.get(key)
        if packed is None:
            packed = self.older.pop(key, None)
            if packed is None:
                return {}
            self._keep(key, packed)
        rows = orjson.loads(zlib.decompress(packed.content))
        return {ldn: KnownObject(number, self._same(tuple(classes))) for ldn, number, *classes in rows}

    def _same(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(self.classes) >= MOST_CLASSES:
            self.classes.clear()  # those in use stay with their objects
        return self.classes.setdefault(classes, classes)

    def clear(self) -> None:
        """Forgets everything."""
        for held in (self.open, self.changed, self.recent, self.older, self.classes):
            held.clear()
        self.opened = self.in_recent = 0
