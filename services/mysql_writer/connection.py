"""A connection to MySQL or MariaDB: the only module that imports PyMySQL."""

import logging
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql

from services.mysql_writer.rows import quoted
from services.mysql_writer.settings import Mysql
from shared.errors import Hopeless, Unreachable
from shared.settings import secret

log = logging.getLogger(__name__)
ANSWER_S = 60.0
"""A statement that gives no sign for so long is tried again: writers must show progress (shared/health.py)."""
DUPLICATE_COLUMN = 1060
STALE_SCHEMA = {1054, 1146}  # unknown column, no such table: somebody changed it under us
STORAGE = {1003, 1005, 1016, 1021, 1024, 1025, 1026, 1028, 1030, 1037, 1038, 1114, 1815}
"""Full disk or memory, as one or the other engine calls it: 1815 is MariaDB's, of a column that finds no room."""
MAY_PASS = STALE_SCHEMA | STORAGE | {
    1040, 1041, 1053, 1129, 1158, 1159, 1160, 1161, 1180, 1203, 1205, 1213, 1226, 1290, 1317, 1836, 3024,
    2002, 2003, 2006, 2013, 2055,
}  # fmt: skip
"""Server away, shutting down, read-only; too many connections; deadlock, lock wait; line cut."""
NO_SUCH_DATABASE = 1049
FOR_A_PERSON = {1044, 1045, NO_SUCH_DATABASE, 1142}
"""Access or command denied, unknown database: a person is about to mend it, the data waits in Kafka."""


class StaleSchema(Unreachable):
    """A table or column is not as it was: what is known of the schema is to be read again."""


class Execute:
    """Statements on a connection; the rows of the answer.

    Raises (all methods):
        Hopeless: the statement is larger than the server takes. It would end the line in mid-statement, often before
            its error 1153 can be read, which looks like a server that is away.
    """

    def __init__(self, connection: "pymysql.Connection[Any]", most_bytes: int) -> None:
        self.connection = connection
        self.most_bytes = most_bytes

    def __call__(self, statement: str | bytes, arguments: Sequence[Any] = ()) -> Sequence[Any]:
        with self.connection.cursor() as cursor:
            self._execute(cursor, statement, arguments)
            return list(cursor.fetchall())

    def changed(self, statement: str, arguments: Sequence[Any]) -> int:
        """How many rows it found."""
        with self.connection.cursor() as cursor:
            return self._execute(cursor, statement, arguments)

    def _execute(self, cursor: Any, statement: str | bytes, arguments: Sequence[Any]) -> int:
        whole = cursor.mogrify(statement, arguments) if arguments else statement
        sent = whole.encode(errors="surrogateescape") if isinstance(whole, str) else whole
        if len(sent) >= self.most_bytes:
            raise Hopeless(f"a statement of {len(sent)} bytes; the server's max_allowed_packet is {self.most_bytes}")
        return int(cursor.execute(sent))


def connect(settings: Mysql, database: str | None, answer_s: float | None = ANSWER_S) -> "pymysql.Connection[Any]":
    """A new line, as everything of pmflow that reads or writes MySQL has it.

    Raises:
        pymysql.Error, OSError: no connection.
    """
    return pymysql.connect(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=secret(settings.password, settings.password_file),
        database=database,
        charset="utf8mb4",
        connect_timeout=10,
        read_timeout=answer_s,
        write_timeout=answer_s,
        ssl=_trust(settings),
        ssl_disabled=settings.tls == "off",
        # rowcount tells found rows: a position set to what it was still is ours
        client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
        init_command="SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = 20",
    )


def _trust(settings: Mysql) -> ssl.SSLContext | None:
    """Of a server that must prove who it is; None leaves TLS to what the server offers."""
    if settings.tls != "verify":
        return None
    context = ssl.create_default_context(cafile=settings.ca_file or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # certificates that MySQL made itself lack extensions
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file or None)
    return context


class Connection:
    """Made when it is needed, and made again after each failure. One owner.

    Raises (all methods):
        Unreachable: the server does not answer, or asks to try again; the transaction is rolled back.
        Hopeless: it will never take this.
    """

    def __init__(self, settings: Mysql, own_tables: Sequence[str], answer_s: float | None = ANSWER_S) -> None:
        """`own_tables`: statements that make them, run on each new connection."""
        self.settings = settings
        self.own_tables = own_tables
        self.answer_s = answer_s
        self.line: pymysql.Connection[Any] | None = None
        self.most_bytes = 0

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        try:
            connection = self._begun()
            yield Execute(connection, self.most_bytes)
            connection.commit()
        except pymysql.Error as error:
            self._failed(error)
        except OSError as error:
            self.close()
            raise Unreachable(f"{self._where}: {error}") from error
        except BaseException:
            self.close()
            raise

    @contextmanager
    def ddl(self, table: str) -> Iterator[Execute]:
        """Alone on this table among pmflow's writers; waits only shortly for readers, who would wait behind it."""
        with self.transaction() as execute:
            ((got,),) = execute("SELECT GET_LOCK(%s, 10)", (f"pmflow {table}"[:64],))
            if got != 1:
                raise Unreachable(f"{table}: another writer changes it")
            try:
                execute("SET SESSION lock_wait_timeout = 5")
                yield execute
            finally:
                if self.line is not None and self.line.open:
                    execute("DO RELEASE_LOCK(%s)", (f"pmflow {table}"[:64],))

    def _begun(self) -> "pymysql.Connection[Any]":
        """In a transaction. Its first statement tells whether an idle line is well; a dead one is made again."""
        if self.line is not None:
            try:
                self.line.begin()
            except (pymysql.Error, OSError) as error:
                log.info("connection made again", extra={"reason": f"{self._where}: {error}"})
                self.close()
            else:
                return self.line
        self.line = self._of_database()
        with self.line.cursor() as cursor:
            for statement in self.own_tables:
                cursor.execute(statement)
            cursor.execute("SELECT @@max_allowed_packet")
            ((self.most_bytes,),) = cursor.fetchall()
        self.line.begin()
        return self.line

    def _of_database(self) -> "pymysql.Connection[Any]":
        """Made when it is not there."""
        database = self.settings.database
        try:
            return connect(self.settings, database, self.answer_s)
        except pymysql.OperationalError as error:
            if error.args[0] != NO_SUCH_DATABASE:
                raise
        with connect(self.settings, None) as server, server.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {quoted(database)} CHARACTER SET utf8mb4")
        return connect(self.settings, database, self.answer_s)

    def _failed(self, error: pymysql.Error) -> None:
        code = error.args[0] if error.args else 0
        self.close()
        if code in STALE_SCHEMA:
            raise StaleSchema(f"{self._where}: {error}") from error
        if code in MAY_PASS | FOR_A_PERSON | {DUPLICATE_COLUMN} or isinstance(error, pymysql.InterfaceError):
            raise Unreachable(f"{self._where}: {error}") from error
        raise Hopeless(f"{self._where}: {error}") from error

    def close(self) -> None:
        """Also the way to roll back: it releases every lock, whatever state the line is in."""
        if self.line is not None:
            self.line.close()
            self.line = None

    @property
    def _where(self) -> str:
        return f"MySQL {self.settings.host}:{self.settings.port}/{self.settings.database}"
