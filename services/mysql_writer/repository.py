"""What the writer asks of MySQL and MariaDB: positions, object ids, and rows stored together with the positions."""

import hashlib
from collections.abc import Collection, Iterable, Mapping

from services.mysql_writer.connection import Connection
from services.mysql_writer.schema import OWN_TABLES, Schema
from shared.settings import Mysql
from shared.sink import Place

OBJECTS_PER_STATEMENT = 1000


class Fenced(Exception):  # noqa: N818
    """Another writer owns the partition now; this one must leave."""


class Repository:
    """One connection, one owner. Raises as `Connection` does."""

    def __init__(self, settings: Mysql, *, add_columns: bool) -> None:
        self.connection = Connection(settings, OWN_TABLES)
        self.schema = Schema(self.connection, add_columns=add_columns)
        self.objects: dict[tuple[str, str, str], int] = {}
        self.epochs: dict[Place, int] = {}

    def take_over(self, places: Iterable[Place]) -> dict[Place, int]:
        """Become the owner of partitions: raise their epochs; their next offsets, 0 for new ones."""
        found = {}
        with self.connection.transaction() as execute:
            for place in places:
                execute(
                    "INSERT INTO pm_position VALUES (%s, %s, 0, 1) ON DUPLICATE KEY UPDATE epoch = epoch + 1", place
                )
                ((found[place], self.epochs[place]),) = execute(
                    "SELECT next_offset, epoch FROM pm_position WHERE topic = %s AND `partition` = %s", place
                )
        return found

    def object_ids(self, system: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Ids of (element, ldn), given to new ones."""
        unknown = sorted(o for o in wanted if (system, *o) not in self.objects)
        for at in range(0, len(unknown), OBJECTS_PER_STATEMENT):
            missing = {_digest(system, *o): o for o in unknown[at : at + OBJECTS_PER_STATEMENT]}
            with self.connection.transaction() as execute:
                execute(
                    "INSERT INTO pm_object (digest, `system`, element, ldn) VALUES "
                    + ", ".join(["(%s, %s, %s, %s)"] * len(missing))
                    + " ON DUPLICATE KEY UPDATE id = id",  # IGNORE would cut a text that is too long
                    [v for digest, o in sorted(missing.items()) for v in (digest, system, *o)],
                )
            with self.connection.transaction() as execute:  # a new snapshot: another writer may have made some of them
                for digest, number in execute(
                    f"SELECT digest, id FROM pm_object WHERE digest IN ({', '.join(['%s'] * len(missing))})",
                    list(missing),
                ):
                    self.objects[system, *missing[digest]] = number
        return {o: self.objects[system, *o] for o in wanted}

    def store(self, statements: Iterable[bytes], positions: Mapping[Place, int]) -> None:
        """Rows and positions, all or nothing.

        Raises:
            Fenced: another writer took a partition over.
        """
        with self.connection.transaction() as execute:
            for statement in statements:
                execute(statement)
            for place, next_offset in positions.items():
                moved = execute.changed(
                    "UPDATE pm_position SET next_offset = %s WHERE topic = %s AND `partition` = %s AND epoch = %s",
                    (next_offset, *place, self.epochs[place]),
                )
                if not moved:
                    raise Fenced(f"{place}: epoch {self.epochs[place]} is over")

    def close(self) -> None:
        self.connection.close()


def _digest(system: str, element: str, ldn: str) -> bytes:
    return hashlib.blake2b(f"{system}\0{element}\0{ldn}".encode(), digest_size=16).digest()
