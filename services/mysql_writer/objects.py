"""The object dictionary: a number for each element and measObjLdn, and the parts of its name in columns."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

from services.mysql_writer.connection import Connection
from services.mysql_writer.rows import quoted
from services.mysql_writer.schema import LONGEST_COUNTER, add_columns, named, tell
from shared.sinks.dn import split

TABLE = "pm_object"
OBJECTS_PER_STATEMENT = 1000
MOST_COLUMNS = 100
"""Of parts of names: InnoDB's row has no room for many more; the ldn itself has them all."""
Object = tuple[str, str]
"""Element, ldn."""


class Objects:
    """What is known of the dictionary, and the way to add to it. One owner; raises as `Connection` does."""

    def __init__(self, connection: Connection, ddl: Connection) -> None:
        self.connection = connection
        self.ddl = ddl
        self.numbers: dict[tuple[str, str, str], int] = {}
        self.columns: dict[str, str] = {}
        """Class of a relative distinguished name -> its column; none for one that has no place."""

    def numbers_of(self, system: str, wanted: Collection[Object], *, split_dn: bool) -> dict[Object, int]:
        """New ones get theirs; the columns are filled for all that this writer meets for the first time."""
        unknown = sorted(o for o in wanted if (system, *o) not in self.numbers)
        for at in range(0, len(unknown), OBJECTS_PER_STATEMENT):
            self._add(system, unknown[at : at + OBJECTS_PER_STATEMENT], split_dn=split_dn)
        return {o: self.numbers[system, *o] for o in wanted}

    def _add(self, system: str, unknown: Sequence[Object], *, split_dn: bool) -> None:
        missing = {_digest(system, *o): o for o in unknown}
        parts = {digest: split(ldn) if split_dn else {} for digest, (_, ldn) in missing.items()}
        columns = self._columns({kind for found in parts.values() for kind in found})
        of_parts = [quoted(column).replace("%", "%%") for column in columns.values()]
        names = ["digest", "`system`", "element", "ldn", *of_parts]
        kept = ["id = id", *(f"{c} = COALESCE(VALUES({c}), {c})" for c in of_parts)]
        row = f"({', '.join(['%s'] * len(names))})"
        with self.ddl.ddl(TABLE):  # alone: while a column is added, MySQL may give new rows the numbers of others
            with self.connection.transaction() as execute:
                execute(
                    f"INSERT INTO {TABLE} ({', '.join(names)}) VALUES {', '.join([row] * len(missing))} "
                    f"ON DUPLICATE KEY UPDATE {', '.join(kept)}",  # IGNORE would cut a text that is too long
                    [
                        value
                        for digest, o in sorted(missing.items())
                        for value in (digest, system, *o, *(parts[digest].get(kind) for kind in columns))
                    ],
                )
            with self.connection.transaction() as execute:  # a new snapshot: another may have made some
                for digest, number in execute(
                    f"SELECT digest, id FROM {TABLE} WHERE digest IN ({', '.join(['%s'] * len(missing))})",
                    list(missing),
                ):
                    self.numbers[system, *missing[digest]] = number

    def _columns(self, kinds: set[str]) -> Mapping[str, str]:
        """Class -> column, made where there is none yet."""
        if not kinds <= self.columns.keys():
            self._make(kinds)
        return {kind: column for kind in sorted(kinds) if (column := self.columns[kind])}

    def _make(self, kinds: Iterable[str]) -> None:
        with self.ddl.ddl(TABLE) as execute:
            known = dict(execute("SELECT counter, `column_name` FROM pm_counter WHERE `table_name` = %s", (TABLE,)))
            unknown = sorted(kind for kind in set(kinds) - known.keys() if len(kind) <= LONGEST_COUNTER)
            new = named(unknown[: MOST_COLUMNS - len(known)], {*OWN_COLUMNS, *known.values()})
            of_ldn = {kind: f"{quoted(column)} TEXT NULL COMMENT 'of the ldn'" for kind, column in new.items()}
            add_columns(TABLE, new, of_ldn, execute)
        self.columns = {**dict.fromkeys(kinds, ""), **known, **new}
        if new:
            tell(TABLE, len(new), 0)


OWN_COLUMNS = ("id", "digest", "system", "element", "ldn")


def _digest(system: str, element: str, ldn: str) -> bytes:
    return hashlib.blake2b(f"{system}\0{element}\0{ldn}".encode(), digest_size=16).digest()
