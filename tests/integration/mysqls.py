"""What tests of MySQL and of MariaDB share: the servers, and a person at one of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from services.mysql_writer.connection import connect
from shared.settings import Mysql


@contextmanager
def administrator(mysql: Mysql) -> Iterator[Callable[[str], Any]]:
    """Statements of a person at the server."""
    with connect(mysql, mysql.database) as line:

        def execute(statement: str) -> Any:
            cursor = line.cursor()
            cursor.execute(statement)
            return cursor.fetchall()

        yield execute
