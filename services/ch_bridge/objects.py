"""The object dictionary: the components of each object's name, for queries by any of them."""

from collections.abc import Collection, Sequence

import pyarrow as pa

from services.ch_bridge.connection import Connection
from services.ch_bridge.ddl import TABLE_ENGINE, create_object_table
from shared.sinks.dn import dn_components
from shared.sinks.names import OBJECT_TABLE

ObjectKey = tuple[str, str]
"""Element, ldn."""


MOST_KEYS = 400_000
"""Largest number of objects of a system that are remembered."""


class RecentKeys:
    """The keys that were met last, in two halves: a full recent half becomes the older one. Pure."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self.most = most
        self.recent: set[ObjectKey] = set()
        self.older: set[ObjectKey] = set()

    def __len__(self) -> int:
        return len(self.recent | self.older)

    def missing(self, keys: Collection[ObjectKey]) -> set[ObjectKey]:
        """Returns the keys that are not remembered; the others are remembered longer."""
        self.add(self.older.intersection(keys) - self.recent)
        return {key for key in keys if key not in self.recent and key not in self.older}

    def add(self, keys: Collection[ObjectKey]) -> None:
        """Remembers keys."""
        self.recent.update(keys)
        if len(self.recent) > self.most // 2:
            self.recent, self.older = set(), self.recent


class Objects:
    """The objects known so far, and the way to add new ones. It belongs to one thread; raises as `Connection` does."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.known: dict[str, RecentKeys] = {}
        """Objects in the dictionary, by system: those that were met last."""

    def forget(self) -> None:
        """Forgets everything, as another process may have changed the table."""
        self.known.clear()

    def add(self, system: str, objects: Collection[ObjectKey]) -> None:
        """Adds the objects that this process meets for the first time, or for the first time in a long while.

        An object that is added again replaces itself.
        """
        known = self.known.setdefault(system, RecentKeys())
        is_first = not len(known)
        new = sorted(known.missing(set(objects)))
        if new:
            if is_first and not self.connection.ask(TABLE_ENGINE, name=OBJECT_TABLE):
                self.connection.do(create_object_table(self.connection.deployment))
            self.connection.insert(OBJECT_TABLE, dictionary_rows(system, new))
            known.add(new)


def dictionary_rows(system: str, objects: Sequence[ObjectKey]) -> dict[str, pa.Array]:
    """Returns the rows of these objects, by column."""
    return {
        "system": pa.array([system] * len(objects)),
        "element": pa.array([element for element, _ in objects]),
        "object": pa.array([ldn for _, ldn in objects]),
        "dn": pa.array([list(dn_components(ldn).items()) for _, ldn in objects], pa.map_(pa.string(), pa.string())),
    }
