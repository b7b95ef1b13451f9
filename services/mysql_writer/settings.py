"""The settings of mysql_writer, and its rules for storing the counters of one system."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from services.mysql_writer.object_cache import OBJECTS_IN_MEMORY
from shared.configuration.resolve import Name, Number, Seconds, Threads
from shared.settings import BadSettings, Settings
from shared.sinks.failures import UNKNOWN_ERROR
from shared.sinks.limits import SinkLimits
from shared.sinks.rules import StorageRules, storage_rules

UsedPort = Annotated[int, Meta(ge=1, le=65535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlWriterSettings(SinkLimits):
    """Section `mysql_writer`."""

    writers: Annotated[Threads, "writer threads; each has its own Kafka partitions and database connections"] = 4
    partition_look_s: Annotated[Seconds, "interval between checks of the day partitions"] = 300.0
    objects_in_memory: Annotated[
        Number, "most objects whose numbers each writer thread remembers, about 20 bytes each; a third of them for sure"
    ] = OBJECTS_IN_MEMORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Mysql:
    """Section `mysql`: the MySQL or MariaDB that stores the counters."""

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
    unknown_error_s: Annotated[Seconds, UNKNOWN_ERROR] = 600.0

    def __post_init__(self) -> None:
        if self.tls != "verify" and (self.ca_file or self.cert_file):
            raise BadSettings("ca-file and cert-file need tls: verify")
        if self.key_file and not self.cert_file:
            raise BadSettings("key-file needs cert-file")


def mysql_of(settings: Settings) -> Mysql:
    """Returns the section `mysql`.

    Raises:
        BadSettings: an unknown key, or a value that is not what it must be.
    """
    return settings.section("mysql", Mysql)


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlRules(StorageRules):
    """Rules for storing the counters of one system in MySQL."""

    row_by_row: bool = False
    """One statement per row, to find a row that the server refuses."""


def mysql_rules(settings: Settings, system: str) -> MysqlRules:
    """Returns the rules of a system."""
    found = settings.system(system)
    row_by_row = found is not None and not found.batch_insert_counter
    return MysqlRules(**asdict(storage_rules(settings, system)), row_by_row=row_by_row)
