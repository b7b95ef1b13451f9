"""The object dictionary: a number for each element and measObjLdn, and columns for the components of its name."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from services.mysql_writer.catalog import add_columns, new_column_names, recorded_columns
from services.mysql_writer.connection import Connection, Execute
from services.mysql_writer.ddl import placeholders, quoted_identifier
from services.mysql_writer.object_cache import OBJECTS_IN_MEMORY, KnownObject, ObjectCache
from services.mysql_writer.schema import report_changes
from shared.sinks.dn import dn_components
from shared.sinks.names import OBJECT_TABLE, name_digest

OBJECTS_PER_STATEMENT = 1000
MOST_COLUMNS = 100
"""Most columns for components of names: InnoDB's row has no space for many more. The ldn itself has all components."""
LONGEST_CLASS = 255
"""Most characters of a class that gets a column."""
OWN_COLUMNS = ("id", "digest", "system", "element", "ldn")
ObjectKey = tuple[str, str]
"""Element, ldn."""


class Objects:
    """The objects known so far, and the way to add new ones. It belongs to one thread; raises as `Connection` does."""

    def __init__(self, connection: Connection, ddl: Connection, most_in_memory: int = OBJECTS_IN_MEMORY) -> None:
        self.connection = connection
        self.ddl = ddl
        self.cache = ObjectCache(most_in_memory)
        self.columns: dict[str, str] = {}
        """Class of a relative distinguished name -> its column; empty for a class that has no column."""

    def forget(self) -> None:
        """Forgets everything: another server, or one that was restored, may have given the numbers to other objects."""
        self.cache.clear()
        self.columns.clear()

    def numbers_of(self, system: str, wanted: Collection[ObjectKey], *, split_dn: bool) -> dict[ObjectKey, int]:
        """Returns the objects' numbers, adding new objects to the dictionary."""
        return {o: known.number for o, known in self.known(system, wanted, split_dn=split_dn).items()}

    def known(self, system: str, wanted: Collection[ObjectKey], *, split_dn: bool) -> dict[ObjectKey, KnownObject]:
        """Returns these objects, adding new ones to the dictionary.

        `split_dn` also stores the components of the name, for every object that this writer meets for the first time.
        """
        found = {
            o: known for o in wanted if (known := self.cache.of_element(system, o[0]).get(o[1])) is not None
        }  # fmt: skip
        unknown = sorted(o for o in wanted if o not in found)
        for at in range(0, len(unknown), OBJECTS_PER_STATEMENT):
            found |= self._add(system, unknown[at : at + OBJECTS_PER_STATEMENT], split_dn=split_dn)
        return found

    def _add(self, system: str, unknown: Sequence[ObjectKey], *, split_dn: bool) -> dict[ObjectKey, KnownObject]:
        components = {o: dn_components(o[1]) if split_dn else {} for o in unknown}
        columns = self._columns({kind for found in components.values() for kind in found})
        rows = [_row(system, o, parts, columns) for o, parts in components.items()]
        numbers = self._stored(rows)
        if len(numbers) < len(rows):
            with self.ddl.ddl(OBJECT_TABLE):  # exclusive, so that no other writer inserts the same objects
                with self.connection.transaction() as execute:  # a new snapshot: another writer may have added some
                    _store(rows, list(columns.values()), execute)
                numbers = self._stored(rows)
        found = {}
        for row, (o, parts) in zip(rows, components.items(), strict=True):
            found[o] = KnownObject(numbers[row.digest], tuple(parts))
            self.cache.add(system, *o, found[o])
        return found

    def _stored(self, rows: Sequence["_ObjectRow"]) -> dict[bytes, int]:
        """Returns the numbers of those of the objects that the dictionary has, with all their components."""
        columns = sorted({column for row in rows for column in row.components})
        with self.connection.transaction() as execute:
            return {
                row.digest: number
                for row, number, components in _present(rows, columns, execute)
                if row.components.items() <= components.items()
            }

    def _columns(self, kinds: set[str]) -> Mapping[str, str]:
        """Returns the columns by class, adding those that do not exist yet; without classes that have no column."""
        if not kinds <= self.columns.keys():
            self._add_columns(kinds)
        return {kind: column for kind in sorted(kinds) if (column := self.columns[kind])}

    def _add_columns(self, kinds: Iterable[str]) -> None:
        with self.ddl.ddl(OBJECT_TABLE) as execute:
            known = recorded_columns([OBJECT_TABLE], execute).get(OBJECT_TABLE, {})
            unknown = sorted(kind for kind in set(kinds) - known.keys() if len(kind) <= LONGEST_CLASS)
            new = new_column_names(unknown[: MOST_COLUMNS - len(known)], {*OWN_COLUMNS, *known.values()})
            definitions = {
                kind: f"{quoted_identifier(column)} TEXT NULL COMMENT 'of the ldn'"
                for kind, column in {**known, **new}.items()
            }
            add_columns(OBJECT_TABLE, {**known, **new}, definitions, execute)
        self.columns = {**dict.fromkeys(kinds, ""), **known, **new}
        if new:
            report_changes(OBJECT_TABLE, len(new), 0)


@dataclass(frozen=True, slots=True)
class _ObjectRow:
    """A row of the dictionary."""

    digest: bytes
    names: tuple[str, str, str]
    """System, element, ldn."""
    components: Mapping[str, str]
    """Component of the name by column."""


def _row(system: str, o: ObjectKey, parts: Mapping[str, str], columns: Mapping[str, str]) -> _ObjectRow:
    in_columns = {columns[kind]: value for kind, value in parts.items() if kind in columns}
    return _ObjectRow(name_digest(system, *o), (system, *o), in_columns)


def _present(
    rows: Sequence[_ObjectRow], columns: Sequence[str], execute: Execute
) -> Iterator[tuple[_ObjectRow, int, dict[str, str]]]:
    """Yields those of the rows that are in the dictionary, with their numbers and the values of these columns."""
    by_digest = {row.digest: row for row in rows}
    names = ", ".join(["digest", "id", *(quoted_identifier(column).replace("%", "%%") for column in columns)])
    query = f"SELECT {names} FROM {OBJECT_TABLE} WHERE digest IN ({placeholders(by_digest)})"
    for digest, number, *cells in execute(query, list(by_digest)):
        yield by_digest[digest], number, dict(zip(columns, cells, strict=True))


def _store(rows: Sequence[_ObjectRow], columns: Sequence[str], execute: Execute) -> None:
    """Inserts the rows that are missing and fills components that are missing.

    An INSERT that finds its row would use up a number for it each time, and there are only 4 billion.
    """
    present = {row.digest: (row, number, cells) for row, number, cells in _present(rows, columns, execute)}
    for row, number, cells in present.values():
        if lacking := dict(row.components.items() - cells.items()):
            assignments = ", ".join(f"{quoted_identifier(c).replace('%', '%%')} = %s" for c in lacking)
            execute(f"UPDATE {OBJECT_TABLE} SET {assignments} WHERE id = %s", [*lacking.values(), number])
    if missing := sorted((row for row in rows if row.digest not in present), key=lambda row: row.digest):
        names = ["digest", "`system`", "element", "ldn"]
        names += [quoted_identifier(column).replace("%", "%%") for column in columns]
        cells_of = ((row.digest, *row.names, *map(row.components.get, columns)) for row in missing)
        execute(
            f"INSERT INTO {OBJECT_TABLE} ({', '.join(names)}) "
            f"VALUES {', '.join([f'({placeholders(names)})'] * len(missing))}",
            [*chain.from_iterable(cells_of)],
        )
