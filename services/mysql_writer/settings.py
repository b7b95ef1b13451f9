"""The writer's own settings, and what a system's say about storing its counters."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from shared.configuration.resolve import Name, Seconds, Threads
from shared.settings import BadSettings, Settings, System
from shared.sinks.loop import SinkLimits

UsedPort = Annotated[int, Meta(ge=1, le=65535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlWriterSettings(SinkLimits):
    """Section `mysql_writer`."""

    writers: Annotated[Threads, "threads, each with its partitions and its connection"] = 4
    partition_look_s: Annotated[Seconds, "between two looks at the day partitions of tables with a retention"] = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mysql:
    """The MySQL or MariaDB the counters land in."""

    host: Annotated[Name, "server"] = "localhost"
    port: Annotated[UsedPort, "its port"] = 3306
    user: Annotated[Name, "may create tables and columns in the database"] = "pmflow"
    password: Annotated[str, "better given by PMFLOW_MYSQL__PASSWORD or password-file"] = field(default="", repr=False)
    password_file: Annotated[str, "a file that holds the password; wins over `password`"] = ""
    database: Annotated[Name, "created when the user may; else it must exist"] = "pmflow"
    tls: Annotated[
        Literal["off", "prefer", "verify"],
        "prefer: where the server has it, unverified; verify: with the right server, or no connection",
    ] = "prefer"
    ca_file: Annotated[str, "certificates to trust; else the machine's"] = ""
    cert_file: Annotated[str, "our certificate, when the server asks for one"] = ""
    key_file: Annotated[str, "its key, when it is not in the same file"] = ""

    def __post_init__(self) -> None:
        if self.tls != "verify" and (self.ca_file or self.cert_file):
            raise BadSettings("ca-file and cert-file need tls: verify")


def mysql_of(settings: Settings) -> Mysql:
    """Returns the section `mysql`.

    Raises:
        BadSettings: an unknown key, or a value that is not what it must be.
    """
    return settings.section("mysql", Mysql)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How counters of one system are stored. Asked for at each write: the configuration changes while we run."""

    add_columns: bool = True
    row_by_row: bool = False
    split_dn: bool = False
    retention_days: int = 0
    """0: for ever."""


def rules_of(settings: Settings, system: str) -> Rules:
    """Of a system that is configured no more, what is left is stored by the defaults."""
    found = settings.system(system) or System(name=system)
    return Rules(
        add_columns=settings.schedule.is_auto_adding_column,
        row_by_row=not found.batch_insert_counter,
        split_dn="split-dn" in found.preprocessing,
        retention_days=found.retention_days,
    )
