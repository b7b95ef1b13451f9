"""Connects to MySQL or MariaDB. The only module that imports PyMySQL."""

import logging
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql

from services.mysql_writer.ddl import quoted_identifier
from services.mysql_writer.error_codes import ERROR_CLASSES, NO_SUCH_DATABASE
from services.mysql_writer.settings import Mysql
from services.mysql_writer.upgrade import create_missing_tables, prepare_database
from shared.configuration.secret_files import secret
from shared.errors import Hopeless, Unreachable
from shared.sinks.failures import Failures

log = logging.getLogger(__name__)
STATEMENT_TIMEOUT_S = 60.0
"""A statement without any answer for this long is tried again, as writers must show progress (shared/health.py)."""
LOCK_WAIT_S = 20
"""Longest wait for a lock. It is shorter than the wait for an answer: after that, the server would wait on by itself,
with the locks that the transaction has."""


class Execute:
    """Executes statements on a connection and returns the rows of the answer.

    Raises (all methods):
        Hopeless: the statement is larger than the server accepts. The server would close the connection in
            mid-statement, often before its error 1153 can be read, which looks like a server that is down.
    """

    def __init__(self, connection: "pymysql.Connection[Any]", most_bytes: int) -> None:
        self.connection = connection
        self.most_bytes = most_bytes

    def __call__(self, statement: str | bytes, arguments: Sequence[Any] = ()) -> Sequence[Any]:
        with self.connection.cursor() as cursor:
            self._execute(cursor, statement, arguments)
            return list(cursor.fetchall())

    def matched(self, statement: str, arguments: Sequence[Any]) -> int:
        """Executes an UPDATE and returns the number of rows that matched, changed or not."""
        with self.connection.cursor() as cursor:
            return self._execute(cursor, statement, arguments)

    def _execute(self, cursor: Any, statement: str | bytes, arguments: Sequence[Any]) -> int:
        whole = cursor.mogrify(statement, arguments) if arguments else statement
        sent = whole.encode(errors="surrogateescape") if isinstance(whole, str) else whole
        if len(sent) >= self.most_bytes:
            raise Hopeless(
                f"statement of {len(sent)} bytes exceeds the server's max_allowed_packet of {self.most_bytes}"
            )
        return int(cursor.execute(sent))


def connect(
    settings: Mysql, database: str | None, timeout_s: float | None = STATEMENT_TIMEOUT_S
) -> "pymysql.Connection[Any]":
    """Returns a new connection with the options that all of pmflow uses.

    `timeout_s` limits the wait for an answer; None waits for ever.

    Raises:
        pymysql.Error, OSError: the connection failed.
    """
    return pymysql.connect(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=secret(settings.password, settings.password_file),
        database=database,
        charset="utf8mb4",
        connect_timeout=10,
        read_timeout=timeout_s,
        write_timeout=timeout_s,
        ssl=_ssl_context(settings),
        ssl_disabled=settings.tls == "off",
        # rowcount counts matched rows: a position set to its present value still is ours
        client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
        init_command="SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES', "
        f"innodb_lock_wait_timeout = {LOCK_WAIT_S}, lock_wait_timeout = {LOCK_WAIT_S}",
    )


def _ssl_context(settings: Mysql) -> ssl.SSLContext | None:
    """Returns the context that verifies the server; None uses TLS as the server offers it."""
    if settings.tls != "verify":
        return None
    context = ssl.create_default_context(cafile=settings.ca_file or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # certificates that MySQL generates lack extensions
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file or None)
    return context


class Connection:
    """A connection that opens when it is needed, and again after each failure. It belongs to one thread.

    Raises (all methods):
        Unreachable: the server does not answer, or asks to try again; the transaction is rolled back.
        StaleSchema: a table or column is not what the statement expects.
        Hopeless: the server will never accept this statement, or its error has come again for too long.
    """

    def __init__(
        self, settings: Mysql, own_tables: Sequence[str], timeout_s: float | None = STATEMENT_TIMEOUT_S
    ) -> None:
        """Opens nothing yet. `own_tables`: see `create_missing_tables`; a new connection creates them."""
        self.settings = settings
        self.own_tables = own_tables
        self.timeout_s = timeout_s
        self.failures = Failures("mysql", ERROR_CLASSES, settings.unknown_error_s)
        self.session: pymysql.Connection[Any] | None = None
        self.generation = 0
        """Number of times that the connection was opened: the next one may reach another server."""
        self.locked = ""
        """Name of the lock that `ddl` holds."""
        self.most_bytes = 0

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        """Commits at the end of the block; rolls back on any exception, and also closes the connection on most."""
        try:
            connection = self._begin()
            yield Execute(connection, self.most_bytes)
            connection.commit()
        except pymysql.Error as error:
            self._raise_classified(error)
        except OSError as error:
            self.close()
            raise Unreachable(f"{self._server}: {error}") from error
        except Hopeless:
            self._roll_back()
            raise
        except BaseException:
            self.close()
            raise

    @contextmanager
    def ddl(self, table: str) -> Iterator[Execute]:
        """Opens a transaction with an exclusive lock on this table among pmflow's writers.

        It commits before it releases the lock: the next writer must see the catalogue rows, not only the columns.
        Its DDL waits only briefly for readers, as other readers would queue behind it.
        """
        lock = f"pmflow {table}"[:64]
        with self.transaction() as execute:  # releases the lock on any exception
            ((got,),) = execute("SELECT GET_LOCK(%s, 10)", (lock,))
            if got != 1:
                raise Unreachable(f"{table}: another writer is changing this table")
            self.locked = lock
            execute("SET SESSION lock_wait_timeout = 5")
            yield execute
            execute("COMMIT")
            self._release_lock(execute)

    def _release_lock(self, execute: Execute) -> None:
        if self.locked:
            execute("DO RELEASE_LOCK(%s)", (self.locked,))
            self.locked = ""

    def _roll_back(self) -> None:
        """Rolls back and keeps the connection, so that refused rows do not make the writer read everything again."""
        if self.session is None:
            return
        try:
            self.session.rollback()
            self._release_lock(Execute(self.session, self.most_bytes))
        except (pymysql.Error, OSError):
            self.close()

    def _begin(self) -> "pymysql.Connection[Any]":
        """Returns the connection in a new transaction.

        BEGIN shows whether an idle connection still works; if not, the connection is reopened.
        """
        if self.session is not None:
            try:
                self.session.begin()
            except (pymysql.Error, OSError) as error:
                log.info("connection reopened", extra={"reason": f"{self._server}: {error}"})
                self.close()
            else:
                return self.session
        self.session = self._connect()
        self.generation += 1
        with self.session.cursor() as cursor:
            cursor.execute("SELECT @@max_allowed_packet")
            ((self.most_bytes,),) = cursor.fetchall()
        execute = Execute(self.session, self.most_bytes)
        prepare_database(execute)
        create_missing_tables(self.own_tables, execute)
        self.session.begin()
        return self.session

    def _connect(self) -> "pymysql.Connection[Any]":
        """Returns a connection to the database, which is created if it does not exist."""
        database = self.settings.database
        try:
            return connect(self.settings, database, self.timeout_s)
        except pymysql.OperationalError as error:
            if error.args[0] != NO_SUCH_DATABASE:
                raise
        with connect(self.settings, None) as server, server.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {quoted_identifier(database)} CHARACTER SET utf8mb4")
        return connect(self.settings, database, self.timeout_s)

    def _raise_classified(self, error: pymysql.Error) -> None:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        text = f"{self._server}: {error}"
        failure = (
            Unreachable(text) if isinstance(error, pymysql.InterfaceError) else self.failures.exception(code, text)
        )
        if isinstance(failure, Hopeless):
            self._roll_back()
        else:
            self.close()
        raise failure from error

    def close(self) -> None:
        """Closes the connection, which also rolls back and releases every lock, whatever state the connection is in."""
        if self.session is not None:
            self.session.close()
            self.session, self.locked = None, ""

    @property
    def _server(self) -> str:
        return f"MySQL {self.settings.host}:{self.settings.port}/{self.settings.database}"
