"""The object dictionary: a number for each element and measObjLdn, and columns for the components of its name."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from services.mysql_writer.catalog import add_columns, new_column_names, recorded_columns
from services.mysql_writer.connection import Connection
from services.mysql_writer.ddl import placeholders, quoted_identifier
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

    def __init__(self, connection: Connection, ddl: Connection) -> None:
        self.connection = connection
        self.ddl = ddl
        self.numbers: dict[tuple[str, str, str], int] = {}
        self.columns: dict[str, str] = {}
        """Class of a relative distinguished name -> its column; empty for a class that has no column."""

    def numbers_of(self, system: str, wanted: Collection[ObjectKey], *, split_dn: bool) -> dict[ObjectKey, int]:
        """Returns the objects' numbers, adding new objects to the dictionary.

        `split_dn` also stores the components of the name, for every object that this writer meets for the first time.
        """
        unknown = sorted(o for o in wanted if (system, *o) not in self.numbers)
        for at in range(0, len(unknown), OBJECTS_PER_STATEMENT):
            self._add(system, unknown[at : at + OBJECTS_PER_STATEMENT], split_dn=split_dn)
        return {o: self.numbers[system, *o] for o in wanted}

    def _add(self, system: str, unknown: Sequence[ObjectKey], *, split_dn: bool) -> None:
        missing = {name_digest(system, *o): o for o in unknown}
        components = {digest: dn_components(ldn) if split_dn else {} for digest, (_, ldn) in missing.items()}
        columns = self._columns({kind for found in components.values() for kind in found})
        component_columns = [quoted_identifier(column).replace("%", "%%") for column in columns.values()]
        names = ["digest", "`system`", "element", "ldn", *component_columns]
        updates = ["id = id", *(f"{c} = COALESCE(VALUES({c}), {c})" for c in component_columns)]
        row = f"({placeholders(names)})"
        with self.ddl.ddl(
            OBJECT_TABLE
        ):  # exclusive: while a column is added, MySQL may give new rows numbers of others
            with self.connection.transaction() as execute:
                execute(
                    f"INSERT INTO {OBJECT_TABLE} ({', '.join(names)}) VALUES {', '.join([row] * len(missing))} "
                    f"ON DUPLICATE KEY UPDATE {', '.join(updates)}",  # IGNORE would cut a text that is too long
                    [
                        value
                        for digest, o in sorted(missing.items())
                        for value in (digest, system, *o, *(components[digest].get(kind) for kind in columns))
                    ],
                )
            with self.connection.transaction() as execute:  # a new snapshot: another writer may have added some
                for digest, number in execute(
                    f"SELECT digest, id FROM {OBJECT_TABLE} WHERE digest IN ({placeholders(missing)})",
                    list(missing),
                ):
                    self.numbers[system, *missing[digest]] = number

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
