"""The objects that a writer remembers: those of the elements that it saw last, up to a limit. Pure."""

from typing import NamedTuple

MOST_CLASSES = 10_000
"""Limit of the different classes that are kept once; an operator's network has a few dozen."""


class KnownObject(NamedTuple):
    """An object of the dictionary."""

    number: int
    """pm_object.id."""
    classes: tuple[str, ...]
    """The classes of the components of its name, if the system splits names."""


class ObjectCache:
    """Known objects by element, because all objects of an element come together, once per period.

    The elements are in two halves. When the recent half is full, it becomes the older one, and what is still in the
    older half is forgotten; an element that is asked for moves to the recent half.
    """

    def __init__(self, most: int) -> None:
        """`most` is the number of objects that are remembered, about."""
        self.most = most
        self.recent: dict[tuple[str, str], dict[str, KnownObject]] = {}
        self.older: dict[tuple[str, str], dict[str, KnownObject]] = {}
        self.in_recent = 0
        self.classes: dict[tuple[str, ...], tuple[str, ...]] = {}
        """Makes equal classes the same object."""

    def __len__(self) -> int:
        return self.in_recent + sum(map(len, self.older.values()))

    def of_element(self, system: str, element: str) -> dict[str, KnownObject]:
        """Returns the objects of an element by ldn, to be read only."""
        key = system, element
        found = self.recent.get(key)
        if found is None:
            found = self.older.pop(key, {})
            self._make_room()
            self.recent[key] = found
            self.in_recent += len(found)
        return found

    def add(self, system: str, element: str, ldn: str, known: KnownObject) -> None:
        """Remembers an object."""
        of_element = self.of_element(system, element)
        if len(self.classes) >= MOST_CLASSES:
            self.classes.clear()  # those in use stay with their objects
        self.in_recent += ldn not in of_element
        of_element[ldn] = known._replace(classes=self.classes.setdefault(known.classes, known.classes))

    def _make_room(self) -> None:
        """Makes a full recent half the older one; called before an element enters, so that a huge one stays whole."""
        if self.in_recent > self.most // 2:
            self.recent, self.older, self.in_recent = {}, self.recent, 0

    def clear(self) -> None:
        """Forgets everything."""
        self.recent.clear()
        self.older.clear()
        self.classes.clear()
        self.in_recent = 0
