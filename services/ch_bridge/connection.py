"""A line to ClickHouse, a server, a cluster or the embedded engine: the only module that imports clickhouse_connect."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, ProgrammingError

from services.ch_bridge.settings import Clickhouse, without_password
from services.ch_bridge.statements import Where, database, quoted
from shared.errors import Hopeless, Unreachable
from shared.settings import BadSettings

T = TypeVar("T")
WILL_NEVER_DO = {6, 27, 53, 69, 72, 117, 349}
"""Codes of data ClickHouse cannot read or convert. All others may pass: away, busy, read-only, full, a race of DDL."""
UNKNOWN_DATABASE = 81
ANSWER_S = 120
"""It must come within, unless the URL says another `send_receive_timeout`."""


class Connection:
    """Made when it is needed, and again after a failure. One owner.

    Raises (all methods):
        Unreachable: the server does not answer, or not well; trying again changes nothing that is stored.
        Hopeless: it will never take this.
        BadSettings: there is something in the URL that no client understands.
    """

    def __init__(self, settings: Clickhouse) -> None:
        self.settings = settings
        self.where = Where(settings.cluster, settings.table_engine)
        """For those who render statements."""
        self.client: Client | None = None

    def do(self, statement: str) -> None:
        """A statement without an answer."""
        self._guarded(lambda client: client.command(statement))

    def ask(self, query: str, **parameters: str) -> Sequence[Sequence[Any]]:
        """Rows; the query names its parameters as `{name:String}`."""
        return self._guarded(lambda client: client.query(query, parameters=parameters).result_rows)

    def insert(self, table: str, columns: Sequence[str], body: bytes, settings: dict[str, Any]) -> None:
        """A file in Arrow's format."""
        self._guarded(
            lambda client: client.raw_insert(quoted(table), columns, insert_block=body, fmt="Arrow", settings=settings)
        )

    def append(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A few rows of a table of pmflow's own."""
        self._guarded(lambda client: client.insert(table, rows, column_names=columns))

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None

    def _guarded(self, do: Callable[[Client], T]) -> T:
        try:
            if self.client is None:
                self.client = _made(self.settings, self.where)
            return do(self.client)
        except DatabaseError as error:
            self.close()
            if error.code in WILL_NEVER_DO:
                raise Hopeless(f"ClickHouse: {error}") from error
            raise Unreachable(f"ClickHouse: {error}") from error
        except (ClickHouseError, OSError) as error:
            self.close()
            raise Unreachable(f"ClickHouse: {error}") from error


def client_of(settings: Clickhouse) -> Client:
    """A client of the database, which must be there. Raises BadSettings, and what the client raises."""
    dsn, name = address(settings.url)
    return _client(settings, dsn, database=name)


def _made(settings: Clickhouse, where: Where) -> Client:
    """A client of the database, which is made when it is not there."""
    try:
        return client_of(settings)
    except DatabaseError as error:
        if error.code != UNKNOWN_DATABASE:
            raise
    dsn, name = address(settings.url)
    with _client(settings, dsn) as server:
        server.command(database(name, where))
    return client_of(settings)


def _client(settings: Clickhouse, dsn: str, **options: Any) -> Client:
    scheme = urlsplit(dsn).scheme
    if scheme != "chdb":
        options["interface"] = scheme  # the client itself takes https from some ports alone
        options |= {"autogenerate_session_id": False, "compress": False, "send_receive_timeout": ANSWER_S}
    try:
        return clickhouse_connect.get_client(dsn=dsn, **options)
    except (ImportError, TypeError, ProgrammingError) as error:
        raise BadSettings(f"clickhouse: url {without_password(settings.url)}: {error}") from error


def address(url: str) -> tuple[str, str]:
    """What the client is given, and the name of the database, which it could not ask for before it is made.

    >>> address("https://pm:secret@host:8443/pmflow?ca_cert=/etc/ca.pem")
    ('https://pm:secret@host:8443?ca_cert=/etc/ca.pem', 'pmflow')
    >>> address("chdb:///var/lib/pmflow?database=pmflow")
    ('chdb:///var/lib/pmflow', 'pmflow')
    """
    parts = urlsplit(url)
    if parts.scheme == "chdb" and not parts.netloc:  # its path is the folder
        options = dict(parse_qsl(parts.query))
        name = options.pop("database", "")
        return _url(parts, parts.path, urlencode(options, safe="/")), name or "default"
    return _url(parts, "", parts.query), unquote(parts.path.strip("/")) or "default"


def _url(parts: SplitResult, path: str, query: str) -> str:
    return f"{parts.scheme}://{parts.netloc}{path}{'?' if query else ''}{query}"
