"""Settings: the sections that several services read, as frozen objects. Nobody else reads files or the environment.

The files are named by PMFLOW_CONFIG (comma-separated, later ones override); PMFLOW_KAFKA__BOOTSTRAP_SERVERS=...
overrides `kafka: {bootstrap-servers: ...}`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from msgspec import Meta

from shared.configuration.layers import read_layers
from shared.configuration.resolve import BadSettings as BadSettings  # noqa: PLC0414 - who reads settings, catches it
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

_T = TypeVar("_T")
SinkName = Literal["mysql", "clickhouse"]
SinkNames = Annotated[tuple[SinkName, ...], Meta(min_length=1)]
Step = Literal["missing-tokens", "element-alias", "rename-counters", "units", "split-dn"]
STEPS: tuple[Step, ...] = get_args(Step)
"""What may be done to what a file says, in the order in which it is done unless a system says another."""
Levels = Annotated[int, Meta(ge=0, le=100)]
SystemName = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]{0,99}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """The brokers all services meet at."""

    bootstrap_servers: Annotated[Name, "host:port, comma-separated"] = "localhost:9092"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """How the elements are reached."""

    known_hosts: Annotated[str, "SFTP: file of host keys in OpenSSH's form; unknown hosts are refused"] = ""
    ca_file: Annotated[str, "FTPS: certificates to trust; else the machine's"] = ""
    timeout_s: Annotated[Seconds, "of a connection, and of a silent transfer"] = 30.0
    wait_s: Annotated[Seconds, "for a connection while all of a host's are in use; then it counts as unreachable"] = (
        300.0
    )
    connections_per_host: Annotated[Threads, "at most, in each process, however many elements a host serves"] = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Lines on standard error, one an event."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], "of the lines that are written"] = "INFO"
    form: Annotated[Literal["json", "console"], "console: for people"] = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Alive means progress."""

    file: Annotated[str, "touched at each progress; `python -m shared.health` looks at its age"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What a service counts, for Prometheus, and its health."""

    port: Annotated[Port, "of /metrics, /healthz and /readyz; each service of one machine needs its own; 0: none"] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One system of elements, as its section says."""

    name: Annotated[SystemName, "the section's own name, in lower case"]
    consumer_threads: Annotated[Threads, "files downloaded at once, in each fetcher"] = 4
    batch_insert_counter: Annotated[bool, "false: row by row, to find a poison row"] = True
    is_using_clickhouse: Annotated[bool, "land in ClickHouse too"] = False
    complete_on: Annotated[SinkNames, "sinks a file waits for before it moves to done/"] = ("mysql",)
    preprocessing: Annotated[tuple[Step, ...], "the steps, in their order; else by is-preprocessing-data"] = ()
    missing_tokens: Annotated[tuple[str, ...], "no value, besides NIL, NULL, NaN, - and N/A"] = ()
    counter_renames: Annotated[str, "YAML file: counter in the files -> its name in the databases"] = ""
    counter_dictionary: Annotated[tuple[str, ...], "VES PM Dictionaries: types and units of its counters"] = ()
    counter_units: Annotated[str, "YAML file: unit in the dictionary -> {to: unit, factor: number}"] = ""
    inventory: Annotated[str, "YAML or CSV file with the elements, one by one or by templates"] = ""
    pattern: Annotated[Name, "glob of the names that are taken; or regex:..."] = "*"
    min_age_s: Annotated[SecondsOrZero, "younger files are left for a later scan"] = 0.0
    max_age_s: Annotated[SecondsOrZero, "older files are left where they are; 0: none is too old"] = 0.0
    min_size: Annotated[NumberOrZero, "bytes; smaller files are left for a later scan"] = 1
    max_size: Annotated[NumberOrZero, "bytes; larger files are left where they are; 0: none is too large"] = 0
    depth: Annotated[Levels, "levels of directories below an element's that are looked at too"] = 0
    marker_suffix: Annotated[str, "a file is taken when one of its name and this lies beside it: .done"] = ""
    rollout: Annotated[tuple[str, ...], "the elements that are collected: a share (25%) or their names"] = ("100%",)
    on_done: Annotated[Literal["move", "delete", "leave"], "what becomes of a stored file"] = "move"
    done_directory: Annotated[str, "beside the file, or absolute; may hold the date of its period: done/%Y%m%d"] = (
        "done"
    )
    error_directory: Annotated[str, "for files that cannot be read, in the same form"] = "error"
    on_conflict: Annotated[
        Literal["keep-both", "replace"], "another file of that name is there; keep-both marks the new one"
    ] = "keep-both"
    in_flight_limit: Annotated[Number, "files announced and not yet stored, at most"] = 5000
    in_flight_per_host: Annotated[NumberOrZero, "of those, from one host; 0: as many as of the system"] = 0
    backlog_share: Annotated[
        Share, "of what may be announced, for the oldest files; the newest cycle gets the rest"
    ] = 0.25
    retention_days: Annotated[Days, "rows of older periods are dropped, and not stored again; 0: none"] = 0

    @property
    def sinks(self) -> tuple[SinkName, ...]:
        """All its files land in, waited for or not."""
        return ("mysql", "clickhouse") if self.is_using_clickhouse else ("mysql",)

    def __post_init__(self) -> None:
        if not self.done_directory.strip("/") or not self.error_directory.strip("/"):
            raise BadSettings("done-directory and error-directory must name a directory")
        if 0 < self.max_size < self.min_size:
            raise BadSettings(f"max-size ({self.max_size}) must not be smaller than min-size ({self.min_size})")
        if 0 < self.max_age_s < self.min_age_s:
            raise BadSettings(f"max-age ({self.max_age_s}) must not be smaller than min-age ({self.min_age_s})")
        if "clickhouse" in self.complete_on and not self.is_using_clickhouse:
            raise BadSettings("complete-on waits for clickhouse, but isUsingClickhouse is false")
        _ = self.rollout_share

    @property
    def rollout_share(self) -> float | None:
        """0 to 1; None when the rollout is a list of elements."""
        if not any(part.endswith("%") for part in self.rollout):
            return None
        share = ",".join(self.rollout)
        found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%", share)
        if found is None or float(found[1]) > 100:
            raise BadSettings(f"rollout must be one share like 25%, or a list of elements, found {share!r}")
        return float(found[1]) / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The section spring.pm of the user's YAML."""

    schedule_scan: Annotated[Name, "cron of 6 fields, seconds first"] = "50 */5 * * * *"
    time_zone: Annotated[str, "of the cron, as in the tz database"] = "UTC"
    immediate_run_delay_s: Annotated[SecondsOrZero, "first scan after start"] = 10.0
    is_preprocessing_data: Annotated[bool, "all steps, for systems that list none; false: none"] = True
    is_auto_adding_column: Annotated[bool, "false: unknown counters are set aside"] = True

    def __post_init__(self) -> None:
        zone(self.time_zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spring:
    """The section spring of the user's YAML."""

    pm: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration, resolved once."""

    schedule: Schedule
    kafka: Kafka
    elements: Remote
    log: Log
    health: Health
    metrics: Metrics
    systems: tuple[System, ...]
    own: Mapping[str, Any]
    """The services' own sections, unresolved: each service knows its keys (`section`)."""

    def system(self, name: str) -> System | None:
        """The system of that name, if it is configured."""
        return next((system for system in self.systems if system.name == name), None)

    def section(self, name: str, cls: type[_T]) -> _T:
        """A service's own settings.

        Raises:
            BadSettings: an unknown key or a value of the wrong type.
        """
        return resolve(cls, self.own.get(name), name)


SECTIONS = {
    "kafka": Kafka,
    "elements": Remote,
    "log": Log,
    "health": Health,
    "metrics": Metrics,
}
SERVICES = ("scanner", "fetcher", "mysql_writer", "ch_bridge", "tracker")
OWN = (*SERVICES, "zookeeper", "mysql", "clickhouse")
"""Sections that one service reads, and the tools."""


def load(files: tuple[Path, ...] | None = None) -> Settings:
    """Reads, checks and freezes the configuration; from PMFLOW_CONFIG's files unless files are named.

    Raises:
        BadSettings: a file is missing, a key unknown, a value not what it must be.
    """
    named = files if files is not None else tuple(Path(f) for f in os.environ.get("PMFLOW_CONFIG", "").split(",") if f)
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
    resolve(Schedule, cron, "spring.pm.cron")  # so that an error names the key where it stands
    outside = {key: value for key, value in pm.items() if plain_key(key) != "cron"}
    return resolve(Schedule, {**outside, **(cron or {})}, "spring.pm")


def _system(name: str, section: Any, usual: Mapping[str, Any]) -> System:
    known = [*SECTIONS, *OWN, "spring"]
    if not isinstance(section, Mapping):
        raise BadSettings(f"{harmless(name)}: neither a section nor a system{meant(name, known)}")
    if "name" in map(plain_key, section):
        raise BadSettings(f"{name}: unknown key 'name'; a system is named by its section")
    try:
        return resolve(System, {**usual, **section, "name": name}, name)
    except BadSettings as error:
        hint = meant(name, known, known=False)
        raise BadSettings(f"{error}{hint and f' ({name} was taken for a system{hint})'}") from None


def secret(text: str, file: str) -> str:
    """A secret from a file when one is named (a mounted Kubernetes secret), else as given."""
    return Path(file).read_text().strip() if file else text
