"""Settings: dynaconf reads the files and the environment, frozen objects speak. Nobody else reads either.

The files are named by PMFLOW_CONFIG (comma-separated, later ones override); PMFLOW_MYSQL__PASSWORD=... overrides
`mysql: {password: ...}`. Keys may be written as the user likes: consumerThreads, consumer-threads, CONSUMER_THREADS.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from dynaconf import Dynaconf

T = TypeVar("T")
PREFIX = "PMFLOW"
STEPS = ("missing-tokens", "element-alias", "rename-counters", "units", "split-dn")
"""What may be done to what a file says, in the order in which it is done unless a system says another."""


class BadSettings(ValueError):  # noqa: N818
    """The configuration cannot be used: says which key, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """The brokers all services meet at."""

    bootstrap_servers: Annotated[str, "host:port, comma-separated"] = "localhost:9092"


@dataclass(frozen=True, slots=True, kw_only=True)
class Zookeeper:
    """Where scanners elect the leader of each system."""

    connection_string: Annotated[str, "host:port, comma-separated"] = "localhost:2181"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mysql:
    """The MySQL or MariaDB the counters land in."""

    host: Annotated[str, "server"] = "localhost"
    port: Annotated[int, "its port"] = 3306
    user: Annotated[str, "may create tables and columns in the database"] = "pmflow"
    password: Annotated[str, "better given by PMFLOW_MYSQL__PASSWORD or password-file"] = field(default="", repr=False)
    password_file: Annotated[str, "a file that holds the password; wins over `password`"] = ""
    database: Annotated[str, "created when the user may; else it must exist"] = "pmflow"
    tls: Annotated[
        str, "off; prefer: where the server has it, unverified; verify: with the right server, or no connection"
    ] = "prefer"
    ca_file: Annotated[str, "certificates to trust; else the machine's"] = ""
    cert_file: Annotated[str, "our certificate, when the server asks for one"] = ""
    key_file: Annotated[str, "its key, when it is not in the same file"] = ""

    def __post_init__(self) -> None:
        _one_of("mysql", "tls", self.tls, ("off", "prefer", "verify"))
        if self.tls != "verify" and (self.ca_file or self.cert_file):
            raise BadSettings("mysql: ca-file and cert-file need tls: verify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clickhouse:
    """The ClickHouse for systems with isUsingClickhouse."""

    url: Annotated[str, "http(s)://user:password@host:port/database?ca_cert=..."] = "http://localhost:8123/pmflow"
    cluster: Annotated[str, "whose servers all get the tables (ON CLUSTER); none: the server of the URL"] = ""
    engine: Annotated[str, "of the tables; else ReplacingMergeTree, in a cluster ReplicatedReplacingMergeTree"] = ""

    def __post_init__(self) -> None:
        if self.engine and not re.fullmatch(r"\w*ReplacingMergeTree(\(.*\))?", self.engine):
            raise BadSettings(f"clickhouse: engine must be some ReplacingMergeTree, is {self.engine!r}")

    @property
    def table_engine(self) -> str:
        """As it is said to the server."""
        return self.engine or ("ReplicatedReplacingMergeTree" if self.cluster else "ReplacingMergeTree")

    def __repr__(self) -> str:
        """Without the password: this may end in logs."""
        return f"Clickhouse(url={without_password(self.url)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """How the elements are reached."""

    known_hosts: Annotated[str, "SFTP: file of host keys in OpenSSH's form; unknown hosts are refused"] = ""
    ca_file: Annotated[str, "FTPS: certificates to trust; else the machine's"] = ""
    timeout_s: Annotated[float, "of a connection, and of a silent transfer"] = 30.0
    wait_s: Annotated[float, "for a connection while all of a host's are in use; then it counts as unreachable"] = 300.0
    connections_per_host: Annotated[int, "at most, in each process, however many elements a host serves"] = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Lines on standard error, one an event."""

    level: Annotated[str, "DEBUG, INFO, WARNING or ERROR"] = "INFO"
    form: Annotated[str, "json, or console: for people"] = "json"

    def __post_init__(self) -> None:
        _one_of("log", "level", self.level.upper(), ("DEBUG", "INFO", "WARNING", "ERROR"))
        _one_of("log", "form", self.form, ("json", "console"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Alive means progress."""

    file: Annotated[str, "touched at each progress; `python -m shared.health` looks at its age"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What a service counts, for Prometheus, and its health."""

    port: Annotated[int, "of /metrics, /healthz and /readyz; each service of one machine needs its own; 0: none"] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One system of elements, as its section says."""

    name: Annotated[str, "the section's own name, in lower case"]
    consumer_threads: Annotated[int, "files downloaded at once, in each fetcher"] = 4
    batch_insert_counter: Annotated[bool, "false: row by row, to find a poison row"] = True
    is_using_clickhouse: Annotated[bool, "land in ClickHouse too"] = False
    complete_on: Annotated[tuple[str, ...], "sinks a file waits for before it moves to done/"] = ("mysql",)
    preprocessing: Annotated[tuple[str, ...], f"of {', '.join(STEPS)}; else by is-preprocessing-data"] = ()
    missing_tokens: Annotated[tuple[str, ...], "no value, besides NIL, NULL, NaN, - and N/A"] = ()
    counter_renames: Annotated[str, "YAML file: counter in the files -> its name in the databases"] = ""
    counter_dictionary: Annotated[tuple[str, ...], "VES PM Dictionaries: types and units of its counters"] = ()
    counter_units: Annotated[str, "YAML file: unit in the dictionary -> {to: unit, factor: number}"] = ""
    inventory: Annotated[str, "YAML or CSV file with the elements, one by one or by templates"] = ""
    pattern: Annotated[str, "glob of the names that are taken; or regex:..."] = "*"
    min_age_s: Annotated[float, "younger files are left for a later scan"] = 0.0
    max_age_s: Annotated[float, "older files are left where they are; 0: none is too old"] = 0.0
    min_size: Annotated[int, "bytes; smaller files are left for a later scan"] = 1
    max_size: Annotated[int, "bytes; larger files are left where they are; 0: none is too large"] = 0
    depth: Annotated[int, "levels of directories below an element's that are looked at too"] = 0
    marker_suffix: Annotated[str, "a file is taken when one of its name and this lies beside it: .done"] = ""
    rollout: Annotated[tuple[str, ...], "the elements that are collected: a share (25%) or their names"] = ("100%",)
    on_done: Annotated[str, "what becomes of a stored file: move, delete or leave"] = "move"
    done_directory: Annotated[str, "beside the file, or absolute; may hold the date of its period: done/%Y%m%d"] = (
        "done"
    )
    error_directory: Annotated[str, "for files that cannot be read, in the same form"] = "error"
    on_conflict: Annotated[str, "another file of that name is there: keep-both (marks the new one) or replace"] = (
        "keep-both"
    )
    in_flight_limit: Annotated[int, "files announced and not yet stored, at most"] = 5000
    in_flight_per_host: Annotated[int, "of those, from one host; 0: as many as of the system"] = 0
    backlog_share: Annotated[
        float, "of what may be announced, for the oldest files; the newest cycle gets the rest"
    ] = 0.25
    retention_days: Annotated[int, "rows of older periods are dropped, and not stored again; 0: none"] = 0

    @property
    def sinks(self) -> tuple[str, ...]:
        """All its files land in, waited for or not."""
        return ("mysql", "clickhouse") if self.is_using_clickhouse else ("mysql",)

    def __post_init__(self) -> None:
        _at_least_one(self.name, "consumerThreads", self.consumer_threads)
        _at_least_one(self.name, "in-flight-limit", self.in_flight_limit)
        if not 0 <= self.backlog_share <= 1:
            raise BadSettings(f"{self.name}: backlog-share must be between 0 and 1, is {self.backlog_share}")
        _one_of(self.name, "on-done", self.on_done, ("move", "delete", "leave"))
        _one_of(self.name, "on-conflict", self.on_conflict, ("keep-both", "replace"))
        if not self.done_directory.strip("/") or not self.error_directory.strip("/"):
            raise BadSettings(f"{self.name}: done-directory and error-directory must name a directory")
        if self.retention_days < 0:
            raise BadSettings(f"{self.name}: retention-days must not be negative, is {self.retention_days}")
        if self.depth < 0:
            raise BadSettings(f"{self.name}: depth must not be negative, is {self.depth}")
        _ = self.rollout_share
        for step in self.preprocessing:
            if step not in STEPS:
                raise BadSettings(f"{self.name}: preprocessing has no step {step!r}{_meant(step, list(STEPS))}")
        if unknown := set(self.complete_on) - {"mysql", "clickhouse"}:
            raise BadSettings(f"{self.name}: complete-on names {sorted(unknown)}; the sinks are mysql and clickhouse")
        if "clickhouse" in self.complete_on and not self.is_using_clickhouse:
            raise BadSettings(f"{self.name}: complete-on waits for clickhouse, but isUsingClickhouse is false")

    @property
    def rollout_share(self) -> float | None:
        """0 to 1; None when the rollout is a list of elements."""
        if not any(part.endswith("%") for part in self.rollout):
            return None
        found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%", ",".join(self.rollout))
        if found is None or float(found[1]) > 100:
            raise BadSettings(f"{self.name}: rollout is one share like 25% or a list of elements, not {self.rollout}")
        return float(found[1]) / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The section spring.pm of the user's YAML."""

    schedule_scan: Annotated[str, "cron of 6 fields, seconds first"] = "50 */5 * * * *"
    time_zone: Annotated[str, "of the cron, as in the tz database"] = "UTC"
    immediate_run_delay_s: Annotated[float, "first scan after start"] = 10.0
    is_preprocessing_data: Annotated[bool, "all steps, for systems that list none; false: none"] = True
    is_auto_adding_column: Annotated[bool, "false: unknown counters are set aside"] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration, resolved once."""

    schedule: Schedule
    kafka: Kafka
    zookeeper: Zookeeper
    mysql: Mysql
    clickhouse: Clickhouse
    elements: Remote
    log: Log
    health: Health
    metrics: Metrics
    systems: tuple[System, ...]
    own: Mapping[str, Mapping[str, Any]]
    """The services' own sections, unresolved: each service knows its keys (`section`)."""

    def system(self, name: str) -> System | None:
        """The system of that name, if it is configured."""
        return next((system for system in self.systems if system.name == name), None)

    def section(self, name: str, cls: type[T]) -> T:
        """A service's own settings.

        Raises:
            BadSettings: an unknown key or a value of the wrong type.
        """
        return resolve(cls, self.own.get(name, {}), name)


SECTIONS = {
    "kafka": Kafka,
    "zookeeper": Zookeeper,
    "mysql": Mysql,
    "clickhouse": Clickhouse,
    "elements": Remote,
    "log": Log,
    "health": Health,
    "metrics": Metrics,
}
SERVICES = ("scanner", "fetcher", "mysql_writer", "ch_bridge", "tracker")


def load(files: tuple[Path, ...] | None = None) -> Settings:
    """Read, check and freeze; from PMFLOW_CONFIG's files unless files are named.

    Raises:
        BadSettings: a file is missing, a key unknown, a value of the wrong type.
    """
    named = files if files is not None else tuple(Path(f) for f in os.environ.get("PMFLOW_CONFIG", "").split(",") if f)
    for file in named:
        if not file.is_file():
            raise BadSettings(f"{file}: no such configuration file (PMFLOW_CONFIG names it)")
    read = Dynaconf(envvar_prefix=PREFIX, settings_files=[str(f.resolve()) for f in named], merge_enabled=True)
    found = {key.lower(): value for key, value in read.as_dict().items()}
    found.pop("config", None)  # PMFLOW_CONFIG itself
    return _settings(found)


def _settings(found: Mapping[str, Any]) -> Settings:
    rest = dict(found)
    spring = rest.pop("spring", {}).get("pm", {})
    schedule = {**spring, **spring.get("cron", {})}
    schedule.pop("cron", None)
    sections: dict[str, Any] = {name: resolve(cls, rest.pop(name, {}), name) for name, cls in SECTIONS.items()}
    own = {name: rest.pop(name, {}) for name in SERVICES}
    for name, section in rest.items():
        if not isinstance(section, Mapping):
            raise BadSettings(f"{name}: neither a section nor a system{_meant(name, [*SECTIONS, *SERVICES])}")
    when = resolve(Schedule, schedule, "spring.pm")
    usual = {"preprocessing": STEPS if when.is_preprocessing_data else ()}
    systems = tuple(resolve(System, {**usual, **section, "name": name}, name) for name, section in sorted(rest.items()))
    return Settings(schedule=when, systems=systems, own=own, **sections)


def resolve(cls: type[T], found: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass from a section of the file.

    Raises:
        BadSettings: an unknown key or a value of the wrong type.
    """
    known = {spelling: f for f in fields(cls) for spelling in (_plain(f.name), _plain(f.name.removesuffix("_s")))}  # type: ignore[arg-type]
    types = get_type_hints(cls)
    given: dict[str, Any] = {}
    for key, value in found.items():
        field = known.get(_plain(key))
        if field is None:
            raise BadSettings(f"{where}: unknown key {key!r}{_meant(key, [f.name for f in known.values()])}")
        given[field.name] = _typed(value, types[field.name], f"{where}.{key}")
    missing = [f.name for f in known.values() if _required(f) and f.name not in given]
    if missing:
        raise BadSettings(f"{where}: {missing[0]} is missing")
    return cls(**given)


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _plain(key: str) -> str:
    return re.sub("[^a-z0-9]", "", key.lower())


def _meant(key: str, known: list[str]) -> str:
    close = get_close_matches(_plain(key), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(set(known)))}"


def _typed(value: Any, kind: Any, where: str) -> Any:
    wanted = get_origin(kind) or kind
    if wanted is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(_typed(part, get_args(kind)[0], where) for part in parts)
    if wanted is str and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)  # a password of digits comes out of YAML as a number
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise BadSettings(f"{where}: {value!r} is not {wanted.__name__}")
    return value


def _one_of(where: str, key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadSettings(f"{where}: {key} is one of {', '.join(known)}, not {value!r}")


def _at_least_one(where: str, key: str, value: int) -> None:
    if value < 1:
        raise BadSettings(f"{where}: {key} must be at least 1, is {value}")


def secret(text: str, file: str) -> str:
    """A secret from a file when one is named (a mounted Kubernetes secret), else as given."""
    return Path(file).read_text().strip() if file else text


def without_password(url: str) -> str:
    """A URL that may be shown.

    >>> without_password("http://pm:secret@host:8123/pmflow")
    'http://pm:***@host:8123/pmflow'
    """
    return re.sub(r"(//[^:/@]*):.*@", r"\1:***@", url)
