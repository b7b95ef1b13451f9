"""The ClickHouse integration: stores rows, after bringing the tables and the object dictionary up to date."""

from collections.abc import Callable

from services.ch_bridge.connection import Connection
from services.ch_bridge.ddl import ROWS_SUFFIX
from services.ch_bridge.objects import Objects
from services.ch_bridge.render import ColumnarRows
from services.ch_bridge.schema import Schema
from services.ch_bridge.settings import Clickhouse
from shared.errors import Hopeless, Unreachable
from shared.sinks.landing import RefusedCounters
from shared.sinks.rules import StorageRules


class ClickhouseRepository:
    """Has one connection and belongs to one thread. Raises as `Connection` does."""

    def __init__(
        self,
        settings: Clickhouse,
        rules: Callable[[str], StorageRules] = lambda _: StorageRules(),
        *,
        drop_repeats: bool = True,
    ) -> None:
        """Opens nothing yet.

        Args:
            settings: the server.
            rules: returns the current rules of a system, by its name.
            drop_repeats: see `Connection`.
        """
        self.connection = Connection(settings, drop_repeats=drop_repeats)
        self.rules = rules
        self.schema = Schema(self.connection)
        self.objects = Objects(self.connection)

    def check(self) -> None:
        """Returns if the server answers."""
        self.connection.do("SELECT 1")

    def forget(self) -> None:
        """Forgets the tables and objects, as another process may have changed them."""
        self.schema.forget()
        self.objects.forget()

    def renew(self) -> None:
        """Forgets everything it remembers of the database, and closes the connection until it is needed."""
        self.forget()
        self.close()

    def close(self) -> None:
        self.connection.close()

    def insert(self, rows: ColumnarRows) -> None:
        """Inserts rows into one table, which is created or altered first if needed."""
        try:
            self._insert(rows)
        except RefusedCounters:
            raise
        except (Hopeless, Unreachable):  # another process may have changed the tables
            self.forget()
            raise

    def _insert(self, rows: ColumnarRows) -> None:
        rules = self.rules(rows.system)
        if rules.split_dn:
            self.objects.add(rows.system, rows.objects())
        table = self.schema.table(rows, rules)
        cells = {
            table.columns[counter].name: rows.cells(counter, table.columns[counter].kind) for counter in rows.counters
        }
        self.connection.insert(table.name + ROWS_SUFFIX, {**rows.keys, **cells})
