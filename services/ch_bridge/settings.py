"""The bridge's own settings, and what a system's say about storing its counters."""

import re
from dataclasses import dataclass
from typing import Annotated

from shared.configuration.resolve import Name, Number, Seconds
from shared.settings import BadSettings, Settings
from shared.sinks.loop import SinkLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ChBridgeSettings(SinkLimits):
    """Section `ch_bridge`. Each insert costs ClickHouse a part: it likes fewer, larger ones than MySQL."""

    batch_rows: Annotated[Number, "a write waits for no more rows"] = 100_000
    batch_bytes: Annotated[Number, "nor for more bytes of messages, as they are in Kafka's clients"] = 64_000_000
    batch_wait_s: Annotated[Seconds, "nor longer than this"] = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clickhouse:
    """The ClickHouse for systems with isUsingClickhouse."""

    url: Annotated[Name, "http(s)://user:password@host:port/database?ca_cert=..."] = "http://localhost:8123/pmflow"
    cluster: Annotated[str, "whose servers all get the tables (ON CLUSTER); none: the server of the URL"] = ""
    engine: Annotated[str, "of the tables; else ReplacingMergeTree, in a cluster ReplicatedReplacingMergeTree"] = ""

    def __post_init__(self) -> None:
        if self.engine and not re.fullmatch(r"\w*ReplacingMergeTree(\(.*\))?", self.engine):
            raise BadSettings(f"engine must be some ReplacingMergeTree, found {self.engine!r}")

    @property
    def table_engine(self) -> str:
        """As it is said to the server."""
        return self.engine or ("ReplicatedReplacingMergeTree" if self.cluster else "ReplacingMergeTree")

    def __repr__(self) -> str:
        """Without the password: this may end in logs."""
        return f"Clickhouse(url={without_password(self.url)!r})"


def clickhouse_of(settings: Settings) -> Clickhouse:
    """Returns the section `clickhouse`.

    Raises:
        BadSettings: an unknown key, or a value that is not what it must be.
    """
    return settings.section("clickhouse", Clickhouse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How counters of one system are stored. Asked for at each write: the configuration changes while we run."""

    add_columns: bool = True
    split_dn: bool = False
    retention_days: int | None = None
    """0: for ever; None: as it is."""


def rules_of(settings: Settings, system: str) -> Rules:
    """Of a system that is configured no more, what is left is stored, and what is stored stays as long as it did."""
    found = settings.system(system)
    return Rules(
        add_columns=settings.schedule.is_auto_adding_column,
        split_dn=found is not None and "split-dn" in found.preprocessing,
        retention_days=found.retention_days if found else None,
    )


def without_password(url: str) -> str:
    """A URL that may be shown.

    >>> without_password("http://pm:secret@host:8123/pmflow")
    'http://pm:***@host:8123/pmflow'
    """
    return re.sub(r"(//[^:/@]*):.*@", r"\1:***@", url)
