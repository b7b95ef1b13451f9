"""The settings of ch_bridge."""

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from shared.configuration.resolve import Name, Number, Seconds
from shared.settings import BadSettings, Settings
from shared.sinks.failures import UNKNOWN_ERROR
from shared.sinks.limits import SinkLimits

HARMLESS_OPTIONS = frozenset(
    ("database", "user", "username", "secure", "verify", "ca_cert", "client_cert", "client_cert_key", "compress")
)
"""Options of a URL whose values may be shown; those of all others may be secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChBridgeSettings(SinkLimits):
    """Section `ch_bridge`. Its writes are larger than MySQL's, as each insert creates a data part in ClickHouse."""

    batch_rows: Annotated[Number, "a write stops gathering at this many rows"] = 100_000
    batch_bytes: Annotated[Number, "a write stops gathering at this many bytes of messages (uncompressed)"] = 64_000_000
    batch_wait_s: Annotated[Seconds, "a write stops gathering after this time"] = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clickhouse:
    """Section `clickhouse`: the database of systems with isUsingClickhouse."""

    url: Annotated[Name, "http(s)://user:password@host:port/database?ca_cert=..."] = "http://localhost:8123/pmflow"
    password_file: Annotated[str, "a file that holds the password of the URL's user; wins over the URL's"] = ""
    cluster: Annotated[str, "whose servers all get the tables (ON CLUSTER); none: the server of the URL"] = ""
    unknown_error_s: Annotated[Seconds, UNKNOWN_ERROR] = 600.0
    engine: Annotated[str, "of the tables; else ReplacingMergeTree, in a cluster ReplicatedReplacingMergeTree"] = ""
    ca_file: Annotated[str, "https: file of trusted certificates (PEM); by default the machine's"] = ""
    cert_file: Annotated[str, "https: file with our certificate (PEM), if the server asks for one"] = ""
    key_file: Annotated[str, "https: file with its private key (PEM); by default the certificate's file"] = ""
    tls_host_name: Annotated[str, "https: name in the server's certificate, if it is not the host of the URL"] = ""

    def __post_init__(self) -> None:
        if not self.url.startswith("https:") and (self.ca_file or self.cert_file or self.tls_host_name):
            raise BadSettings("ca-file, cert-file and tls-host-name need a url that begins with https:")
        if self.key_file and not self.cert_file:
            raise BadSettings("key-file needs cert-file")
        try:
            _ = urlsplit(self.url).port
        except ValueError:
            raise BadSettings(
                "url cannot be read; escape special characters of the password, such as %2F for / and %40 for @"
            ) from None
        if self.engine and not re.fullmatch(r"\w*ReplacingMergeTree(\(.*\))?", self.engine):
            raise BadSettings(f"engine must be some ReplacingMergeTree, found {self.engine!r}")

    @property
    def database(self) -> str:
        """The database in the URL."""
        return address(self.url)[1]

    @property
    def user(self) -> str:
        """The user in the URL, or the server's default one."""
        return unquote(urlsplit(self.url).username or "") or "default"

    @property
    def table_engine(self) -> str:
        """Returns the engine clause of CREATE TABLE."""
        return self.engine or ("ReplicatedReplacingMergeTree" if self.cluster else "ReplacingMergeTree")

    def __repr__(self) -> str:
        """Leaves the password out, because this may end in logs."""
        return f"Clickhouse(url={without_password(self.url)!r})"


def clickhouse_of(settings: Settings) -> Clickhouse:
    """Returns the section `clickhouse`.

    Raises:
        BadSettings: an unknown key, or a value that is not what it must be.
    """
    return settings.section("clickhouse", Clickhouse)


def address(url: str) -> tuple[str, str]:
    """Splits the URL into what the client is given and the database, which the client must not name before it exists.

    >>> address("https://pm:secret@host:8443/pmflow?ca_cert=/etc/ca.pem")
    ('https://pm:secret@host:8443?ca_cert=/etc/ca.pem', 'pmflow')
    >>> address("chdb:///var/lib/pmflow?database=pmflow")
    ('chdb:///var/lib/pmflow', 'pmflow')
    """
    parts = urlsplit(url)
    if parts.scheme == "chdb" and not parts.netloc:  # its path is the directory
        options = dict(parse_qsl(parts.query))
        name = options.pop("database", "")
        return _url(parts, parts.path, urlencode(options, safe="/")), name or "default"
    return _url(parts, "", parts.query), unquote(parts.path.strip("/")) or "default"


def _url(parts: SplitResult, path: str, query: str) -> str:
    return f"{parts.scheme}://{parts.netloc}{path}{'?' if query else ''}{query}"


def without_password(url: str) -> str:
    """Returns the URL without its secrets: the password, or a token in its place, and options that may be one.

    A password may contain any character, also those that should have been escaped; so everything before the last @ is
    taken for the user and the password, and if it cannot be told where they end, nothing is shown.

    >>> without_password("http://pm:secret@host:8123/pmflow?access_token=secret&ca_cert=/etc/ca.pem")
    'http://pm:***@host:8123/pmflow?access_token=***&ca_cert=/etc/ca.pem'
    """
    begin, at, rest = url.rpartition("@")
    scheme, slashes, login = begin.partition("//") if "//" in begin else ("", "", begin)
    if "?" in login:
        return f"{scheme}{slashes}***"
    user, colon, _ = login.partition(":")
    hidden = f"{scheme}{slashes}{user if colon else ''}{':' if colon else ''}***@" if at else ""
    address, question, options = rest.partition("?")
    return hidden + address + question + "&".join(map(_harmless_option, re.split("[&;#]", options)))


def _harmless_option(option: str) -> str:
    name, equals, _ = option.partition("=")
    return option if not option or name in HARMLESS_OPTIONS else f"{name}=***" if equals else "***"
