"""The settings of ch_bridge."""

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

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

    def __post_init__(self) -> None:
        try:
            _ = urlsplit(self.url).port
        except ValueError:
            raise BadSettings(
                "url cannot be read; escape special characters of the password, such as %2F for / and %40 for @"
            ) from None
        if self.engine and not re.fullmatch(r"\w*ReplacingMergeTree(\(.*\))?", self.engine):
            raise BadSettings(f"engine must be some ReplacingMergeTree, found {self.engine!r}")

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
