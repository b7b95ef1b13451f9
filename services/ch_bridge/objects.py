"""The object dictionary: the components of each object's name, for queries by any of them."""

from collections.abc import Collection, Sequence

import pyarrow as pa

from services.ch_bridge.connection import Connection
from services.ch_bridge.ddl import TABLE_ENGINE, create_object_table
from shared.sinks.dn import dn_components
from shared.sinks.names import OBJECT_TABLE

ObjectKey = tuple[str, str]
"""Element, ldn."""


class Objects:
    """The objects known so far, and the way to add new ones. It belongs to one thread; raises as `Connection` does."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.known: dict[str, set[ObjectKey]] = {}
        """Objects in the dictionary, by system."""

    def forget(self) -> None:
        """Forgets everything, as another process may have changed the table."""
        self.known.clear()

    def add(self, system: str, objects: Collection[ObjectKey]) -> None:
        """Adds the objects that this process meets for the first time."""
        known = self.known.setdefault(system, set())
        new = sorted(set(objects) - known)
        if new:
            if not known and not self.connection.ask(TABLE_ENGINE, name=OBJECT_TABLE):
                self.connection.do(create_object_table(self.connection.deployment))
            self.connection.insert(OBJECT_TABLE, dictionary_rows(system, new))
            known.update(new)


def dictionary_rows(system: str, objects: Sequence[ObjectKey]) -> dict[str, pa.Array]:
    """Returns the rows of these objects, by column."""
    return {
        "system": pa.array([system] * len(objects)),
        "element": pa.array([element for element, _ in objects]),
        "object": pa.array([ldn for _, ldn in objects]),
        "dn": pa.array([list(dn_components(ldn).items()) for _, ldn in objects], pa.map_(pa.string(), pa.string())),
    }
