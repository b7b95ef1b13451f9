"""Loads the configuration into frozen objects: the only code that reads its files and the environment.

PMFLOW_CONFIG names the files (comma-separated, later ones override); PMFLOW_KAFKA__BOOTSTRAP_SERVERS=... overrides
`kafka: {bootstrap-servers: ...}`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from msgspec import Meta

from shared.configuration.kafka import Kafka
from shared.configuration.layers import read_layer, read_layers
from shared.configuration.resolve import BadSettings as BadSettings  # noqa: PLC0414 - code that reads settings catches it
from shared.configuration.resolve import (
    Days,
    Name,
    Number,
    NumberOrZero,
    Port,
    Seconds,
    SecondsOrZero,
    Share,
    Threads,
    harmless,
    meant,
    plain_key,
    resolve,
    zone,
)
from shared.configuration.secret_files import has_secret

_T = TypeVar("_T")
SinkName = Literal["mysql", "clickhouse"]
SinkNames = Annotated[tuple[SinkName, ...], Meta(min_length=1)]
Step = Literal["missing-tokens", "element-alias", "rename-counters", "units", "split-dn"]
STEPS: tuple[Step, ...] = get_args(Step)
"""The steps of preprocessing, in their default order."""
DaysInLedger = Annotated[int, Meta(ge=0, le=30)]
Levels = Annotated[int, Meta(ge=0, le=100)]
SystemName = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]{0,99}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Connections to the elements."""

    known_hosts: Annotated[str, "SFTP: file of host keys in OpenSSH's format; unknown hosts are refused"] = ""
    ca_file: Annotated[str, "FTPS: file of trusted certificates; by default the machine's"] = ""
    timeout_s: Annotated[Seconds, "Seconds until an attempt to connect, or a transfer without data, times out"] = 30.0
    wait_s: Annotated[Seconds, "Seconds to wait for a free connection to a host before it counts as unreachable"] = (
        300.0
    )
    connections_per_host: Annotated[
        Threads,
        "Largest number of connections per host, however many elements it serves and however many fetchers and "
        "scanners run; at least one more than the systems with elements there, as each process needs one",
    ] = 8
    idle_s: Annotated[
        Seconds, "Seconds after which an unused connection is closed; longer than the interval between two scans"
    ] = 900.0
    idle_connections: Annotated[
        NumberOrZero,
        "Largest number of unused connections in each process, over all hosts; the least recently used are closed",
    ] = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The log on standard error, one line per event."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], "Lowest level of the lines that are written"] = (
        "INFO"
    )
    form: Annotated[Literal["json", "console"], "Format of the lines; console is easier to read for people"] = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectLimits:
    """Records that each process may set aside because its code failed on them; more end the process."""

    most: Annotated[NumberOrZero, "Records set aside within the time before the process exits"] = 10
    within_s: Annotated[Seconds, "Time for which a record set aside counts"] = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    """The ledger of files, the topic pm.files.status."""

    keep_days: Annotated[
        DaysInLedger,
        "Days after which a file that is lost, or done and moved or deleted, leaves the ledger; 0: never",
    ] = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The health file; a service is healthy while it makes progress."""

    file: Annotated[str, "File that is touched at each sign of progress; `python -m shared.health` checks its age"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The metrics of a service for Prometheus, and its health; without authentication."""

    host: Annotated[Name, "Address to listen on; 0.0.0.0: all of the machine, where a network policy protects it"] = (
        "127.0.0.1"
    )
    port: Annotated[
        Port, "Port of /metrics, /healthz and /readyz, different for each service on a machine; 0: none"
    ] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A system of elements; the section has the system's name."""

    name: Annotated[SystemName, "Name of the section in lower case; not a key of its own"]
    consumer_threads: Annotated[Threads, "Files downloaded at the same time in each fetcher"] = 4
    batch_insert_counter: Annotated[
        bool, "Insert many rows at once; false: one row at a time, to find a poison row"
    ] = True
    is_using_clickhouse: Annotated[bool, "Store counters in ClickHouse as well"] = False
    complete_on: Annotated[SinkNames, "Sinks that must have stored a file before it moves to done/"] = ("mysql",)
    preprocessing: Annotated[
        tuple[Step, ...], "Steps of preprocessing, in order; by default as is-preprocessing-data says"
    ] = ()
    missing_tokens: Annotated[
        tuple[str, ...], "Texts for a missing value, in addition to NIL, NULL, NaN, - and N/A"
    ] = ()
    counter_renames: Annotated[str, "YAML file that maps counters in the files to their names in the databases"] = ""
    counter_dictionary: Annotated[tuple[str, ...], "VES PM Dictionaries with the types and units of the counters"] = ()
    counter_units: Annotated[str, "YAML file that maps units in the dictionary to {to: unit, factor: number}"] = ""
    element_prefix: Annotated[
        Literal["none", "endpoint"],
        "Prefix of the elements' names in the databases: the endpoint's name and a slash, for elements that have the "
        "same names behind different endpoints",
    ] = "none"
    inventory: Annotated[str, "YAML or CSV file that lists the elements, one by one or by templates"] = ""
    pattern: Annotated[Name, "Glob, or regex:..., that the names of collected files match"] = "*"
    min_age_s: Annotated[SecondsOrZero, "Smallest age in seconds; younger files are left for a later scan"] = 0.0
    max_age_s: Annotated[SecondsOrZero, "Largest age in seconds; older files are left where they are; 0: no limit"] = (
        0.0
    )
    min_size: Annotated[NumberOrZero, "Smallest size in bytes; smaller files are left for a later scan"] = 1
    max_size: Annotated[NumberOrZero, "Largest size in bytes; larger files are left where they are; 0: no limit"] = 0
    depth: Annotated[Levels, "Levels of directories to search below the element's directory"] = 0
    marker_suffix: Annotated[
        str, "Suffix of a marker file, such as .done; a file is collected once its marker is beside it"
    ] = ""
    rollout: Annotated[
        tuple[str, ...], Meta(min_length=1), "Elements to collect from: a share (25%) or their names"
    ] = ("100%",)
    on_done: Annotated[Literal["move", "delete", "leave"], "Treatment of a file that is stored"] = "move"
    done_directory: Annotated[
        str, "Directory of stored files, beside the file or absolute; may contain the date of its period: done/%Y%m%d"
    ] = "done"
    error_directory: Annotated[str, "Directory of files that cannot be read, in the same form as done-directory"] = (
        "error"
    )
    on_conflict: Annotated[
        Literal["keep-both", "replace"],
        "Treatment of a file whose name is already taken in done/ or error/; keep-both adds a suffix to its name",
    ] = "keep-both"
    in_flight_limit: Annotated[Number, "Largest number of files that are announced and not yet stored"] = 5000
    in_flight_per_host: Annotated[
        NumberOrZero,
        "Largest number of files from one host that are announced and not yet stored; 0: no limit per host",
    ] = 0
    backlog_share: Annotated[
        Share, "Share of the announcements for the oldest files; the newest cycle gets the rest"
    ] = 0.25
    retention_days: Annotated[
        Days, "Days for which rows are kept; older ones are dropped and not stored again; 0: no limit"
    ] = 0

    @property
    def sinks(self) -> tuple[SinkName, ...]:
        """The sinks that store the system's files, required or not."""
        return ("mysql", "clickhouse") if self.is_using_clickhouse else ("mysql",)

    def __post_init__(self) -> None:
        self._check_directories()
        if 0 < self.max_size < self.min_size:
            raise BadSettings(f"max-size ({self.max_size}) must not be smaller than min-size ({self.min_size})")
        if 0 < self.max_age_s < self.min_age_s:
            raise BadSettings(f"max-age ({self.max_age_s}) must not be smaller than min-age ({self.min_age_s})")
        if "clickhouse" in self.complete_on and not self.is_using_clickhouse:
            raise BadSettings(
                "complete-on contains clickhouse, but isUsingClickhouse is false: set it to true, or remove clickhouse"
            )
        _ = self.rollout_share

    def _check_directories(self) -> None:
        if not self.done_directory.strip("/") or not self.error_directory.strip("/"):
            raise BadSettings("done-directory and error-directory must name a directory")
        done, error = (where.rstrip("/") for where in (self.done_directory, self.error_directory))
        if done == error:
            raise BadSettings(f"done-directory and error-directory must differ, found {done!r} for both")
        for where in (done, error):
            parts = where.removeprefix("/").split("/")
            if {"", ".", ".."} & set(parts) or not where.isprintable():
                raise BadSettings(f"done-directory and error-directory must be plain paths without .., found {where!r}")

    @property
    def rollout_share(self) -> float | None:
        """The share as 0 to 1; None if the rollout is a list of elements."""
        if not any(part.endswith("%") for part in self.rollout):
            return None
        share = ",".join(self.rollout)
        found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%", share)
        if found is None or float(found[1]) > 100:
            raise BadSettings(f"rollout must be one share like 25%, or a list of elements, found {share!r}")
        return float(found[1]) / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The schedule of scans, and defaults for all systems."""

    schedule_scan: Annotated[Name, "Cron expression of 6 fields, seconds first"] = "50 */5 * * * *"
    time_zone: Annotated[str, "Time zone of the cron expression, a name in the tz database"] = "UTC"
    immediate_run_delay_s: Annotated[SecondsOrZero, "Seconds from the start to the first scan"] = 10.0
    is_preprocessing_data: Annotated[
        bool, "Run all steps of preprocessing for systems that do not list theirs; false: none"
    ] = True
    is_auto_adding_column: Annotated[bool, "Add columns for new counters; false: unknown counters are set aside"] = True

    def __post_init__(self) -> None:
        zone(self.time_zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spring:
    """The section spring of the user's YAML."""

    pm: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration, checked and frozen."""

    schedule: Schedule
    kafka: Kafka
    elements: Remote
    log: Log
    health: Health
    metrics: Metrics
    defects: DefectLimits
    ledger: LedgerSettings
    systems: tuple[System, ...]
    own: Mapping[str, Any]
    """The sections of single services, unchecked: each service knows its keys (`section`)."""

    def system(self, name: str) -> System | None:
        """Returns the system of that name, if it is configured."""
        return next((system for system in self.systems if system.name == name), None)

    def section(self, name: str, cls: type[_T]) -> _T:
        """Returns the checked settings of one service.

        Raises:
            BadSettings: a key is unknown, or a value has the wrong type.
        """
        return resolve(cls, self.own.get(name), name)


SECTIONS = {
    "kafka": Kafka,
    "elements": Remote,
    "log": Log,
    "health": Health,
    "metrics": Metrics,
    "defects": DefectLimits,
    "ledger": LedgerSettings,
}
SERVICES = ("scanner", "fetcher", "mysql_writer", "ch_bridge", "tracker")
OWN = (*SERVICES, "zookeeper", "mysql", "clickhouse")
"""Sections that only one service and the tools read."""


def load(files: tuple[Path, ...] | None = None) -> Settings:
    """Reads and checks the configuration; by default from the files in PMFLOW_CONFIG.

    Raises:
        BadSettings: a file is missing, a key is unknown, or a value is invalid.
    """
    named = files if files is not None else _configured_files()
    spelled = {plain_key(name): name for name in (*SECTIONS, *OWN)}
    return _settings({spelled.get(plain_key(name), name): section for name, section in read_layers(named).items()})


def _settings(found: Mapping[str, Any]) -> Settings:
    rest = dict(found)
    when = _schedule(rest.pop("spring", None))
    sections: dict[str, Any] = {name: resolve(cls, rest.pop(name, None), name) for name, cls in SECTIONS.items()}
    own = {name: rest.pop(name, None) or {} for name in OWN}
    usual = {"preprocessing": STEPS if when.is_preprocessing_data else ()}
    systems = tuple(_system(name, section, usual) for name, section in sorted(rest.items()))
    return Settings(schedule=when, systems=systems, own=own, **sections)


def _schedule(spring: Any) -> Schedule:
    pm = resolve(_Spring, spring, "spring").pm
    if not isinstance(pm, Mapping):
        return resolve(Schedule, pm, "spring.pm")
    cron = next((value for key, value in pm.items() if plain_key(key) == "cron"), None)
    resolve(Schedule, cron, "spring.pm.cron")  # so that an error names the key's own section
    outside = {key: value for key, value in pm.items() if plain_key(key) != "cron"}
    return resolve(Schedule, {**outside, **(cron or {})}, "spring.pm")


def _system(name: str, section: Any, usual: Mapping[str, Any]) -> System:
    known = [*SECTIONS, *OWN, "spring"]
    if not isinstance(section, Mapping):
        raise BadSettings(f"{harmless(name)}: neither a known section nor a system{meant(name, known)}")
    if "name" in map(plain_key, section):
        raise BadSettings(f"{name}: unknown key 'name'; the section is the system's name")
    try:
        return resolve(System, {**usual, **section, "name": name}, name)
    except BadSettings as error:
        hint = meant(name, known, known=False)
        raise BadSettings(f"{error}{hint and f' ({name} was read as a system{hint})'}") from None


def files_with_secrets() -> list[str]:
    """Returns the configuration files that contain a password."""
    return [str(file) for file in _configured_files() if has_secret(read_layer(file))]


def _configured_files() -> tuple[Path, ...]:
    return tuple(Path(file) for file in os.environ.get("PMFLOW_CONFIG", "").split(",") if file)
