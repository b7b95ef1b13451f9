"""Connects to a ClickHouse server, a cluster or the embedded engine.

The only module that imports clickhouse_connect.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, ProgrammingError

from services.ch_bridge.ddl import Deployment, create_database, quoted_identifier
from services.ch_bridge.error_codes import ERROR_CLASSES, UNKNOWN_DATABASE
from services.ch_bridge.settings import Clickhouse, address, without_password
from services.ch_bridge.upgrade import prepare_database
from shared.configuration.secret_files import secret
from shared.errors import Unreachable
from shared.settings import BadSettings
from shared.sinks.failures import Failures

ClientAnswer = TypeVar("ClientAnswer")
STATEMENT_TIMEOUT_S = 120
"""Limit for an answer, unless the URL has another `send_receive_timeout`."""
WIDE: Final = {"max_query_size": 100_000_000, "max_ast_elements": 10_000_000, "max_expanded_ast_elements": 10_000_000}
"""Settings for tables of thousands of columns; by default a server parses 262,144 bytes and 50,000 elements."""
LONGEST_USUAL = 100_000
"""Characters of a statement or of a table's definition beyond which WIDE is sent."""


class Connection:
    """A connection that opens when it is needed, and again after each failure. It belongs to one thread.

    Raises (all methods):
        Unreachable: the server does not answer, or asks to try again; doing so is safe, whatever is stored already.
        StaleSchema: a table or column is not what the statement expects.
        Hopeless: the server will never accept this, or its error has come again for too long.
        BadSettings: the client does not understand the URL.
    """

    def __init__(self, settings: Clickhouse, *, drop_repeats: bool = True) -> None:
        """Opens nothing yet.

        `drop_repeats`: the server ignores an insert whose token it has seen, even if the rows have been lost since.
        """
        self.settings = settings
        self.drop_repeats = drop_repeats
        self.deployment = Deployment(settings.cluster, settings.table_engine)
        """The servers that statements are rendered for."""
        self.failures = Failures("clickhouse", ERROR_CLASSES, settings.unknown_error_s)
        self.client: Client | None = None

    def do(self, statement: str, *, wide: bool = False) -> None:
        """Executes a statement that returns no rows; `wide`: it creates or alters a table with a long definition."""
        self._guarded(lambda client: client.command(statement, settings=WIDE if wide else None))

    def ask(self, query: str, **parameters: str) -> Sequence[Sequence[Any]]:
        """Returns the rows of a query; it refers to parameters as `{name:String}`."""
        return self._guarded(lambda client: client.query(query, parameters=parameters).result_rows)

    def insert(self, table: str, columns: Mapping[str, pa.Array]) -> None:
        """Inserts rows, given by column."""
        body = _arrow_file(pa.table(dict(columns)))
        settings: dict[str, Any] = {
            "optimize_on_insert": 0,  # replacing rows is left to merges
            "max_partitions_per_insert_block": 0,  # no limit: a replay may contain any number of days
            **(WIDE if sum(map(len, columns)) > LONGEST_USUAL else {}),
        }
        if self.drop_repeats:
            settings["insert_deduplication_token"] = hashlib.sha256(body).hexdigest()
        else:
            settings["insert_deduplicate"] = 0
        name, names = quoted_identifier(table), list(columns)
        self._guarded(lambda client: client.raw_insert(name, names, insert_block=body, fmt="Arrow", settings=settings))

    def append(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Inserts a few rows into one of pmflow's own tables."""
        self._guarded(lambda client: client.insert(table, rows, column_names=columns))

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None

    def _guarded(self, do: Callable[[Client], ClientAnswer]) -> ClientAnswer:
        try:
            if self.client is None:
                self.client = _created(self.settings, self.deployment)
                prepare_database(self.client.command, self.deployment)
            return do(self.client)
        except DatabaseError as error:
            self.close()
            raise self.failures.exception(error.code or 0, f"ClickHouse: {error}") from error
        except (ClickHouseError, OSError) as error:
            self.close()
            raise Unreachable(f"ClickHouse: {error}") from error
        except Unreachable:
            self.close()
            raise


def client_of(settings: Clickhouse) -> Client:
    """Returns a client of the database, which must exist.

    Raises:
        BadSettings: the client does not understand the URL.
        ClickHouseError, OSError: the connection failed.
    """
    dsn, name = address(settings.url)
    return _client(settings, dsn, database=name)


def _created(settings: Clickhouse, deployment: Deployment) -> Client:
    """Returns a client of the database, which is created if it does not exist."""
    try:
        return client_of(settings)
    except DatabaseError as error:
        if error.code != UNKNOWN_DATABASE:
            raise
    with server_client_of(settings) as server:
        server.command(create_database(address(settings.url)[1], deployment))
    return client_of(settings)


def server_client_of(settings: Clickhouse) -> Client:
    """Returns a client of the server, whether the database exists or not; raises what `client_of` raises."""
    return _client(settings, address(settings.url)[0])


def _client(settings: Clickhouse, dsn: str, **options: Any) -> Client:
    scheme = urlsplit(dsn).scheme
    if scheme != "chdb":
        options["interface"] = scheme  # else the client uses https for some ports only
        options["password"] = secret("", settings.password_file)  # empty: the URL's
        options |= {"autogenerate_session_id": False, "compress": False, "send_receive_timeout": STATEMENT_TIMEOUT_S}
    try:
        return clickhouse_connect.get_client(dsn=dsn, **options, **_tls(settings))
    except (ImportError, TypeError, ProgrammingError) as error:
        raise BadSettings(f"clickhouse: url {without_password(settings.url)}: {error}") from error


def _tls(settings: Clickhouse) -> dict[str, Any]:
    """Returns the client's options for TLS; it checks the certificate and the host name unless the URL forbids it.

    With a certificate of ours and no password, the certificate is the login.
    """
    has_password = bool(settings.password_file or urlsplit(settings.url).password)
    named = {
        "ca_cert": settings.ca_file,
        "client_cert": settings.cert_file,
        "client_cert_key": settings.key_file or settings.cert_file,
        "username": settings.user if settings.cert_file else "",
        "tls_mode": ("strict" if has_password else "mutual") if settings.cert_file else "",
        "server_host_name": settings.tls_host_name,
    }
    return {name: value for name, value in named.items() if value}


def _arrow_file(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    return bytes(sink.getvalue())
