"""Reads the inventory of a system: the endpoints from which its files are downloaded.

An inventory is a YAML list or a CSV file. An entry is one element, or a template for many: with
`range: 1-2000,3001`, each {n} (or {n:04}) in its texts is replaced by a number.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO, TextIOWrapper
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml

from shared.configuration.file_snapshots import FileSnapshots
from shared.configuration.flat_yaml import flat_entries
from shared.configuration.layers import problem
from shared.configuration.resolve import (
    Days,
    Given,
    Name,
    Port,
    SecondsOrZero,
    ThreadsOrZero,
    plain_key,
    resolve_texts,
    zone,
)
from shared.configuration.secret_files import secret
from shared.messages import partition_of
from shared.settings import BadSettings, System

Protocol = Literal["sftp", "ftp", "ftps", "ftps-implicit", "local"]
PROTOCOL_PORTS: Mapping[Protocol, int] = {"sftp": 22, "ftp": 21, "ftps": 21, "ftps-implicit": 990, "local": 0}
RANGE = "range"
CONTROL_CHARACTERS = re.compile("[\x00-\x1f]")
MOST_NUMBERS = 100_000
"""Limit of the numbers in one range; more are probably a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A host, a directory and credentials, which no message contains."""

    name: Annotated[Name, "Name, unique in its system"]
    protocol: Annotated[Protocol, "Protocol; ftps is explicit TLS"] = "sftp"
    host: Annotated[Name, "Address of the host"] = "localhost"
    port: Annotated[Port, "Port; 0: the default port of the protocol"] = 0
    username: Annotated[str, "User name for the login"] = ""
    password: Annotated[str, "Password, unless a key is used"] = ""
    password_file: Annotated[str, "File that contains the password; takes precedence over `password`"] = ""
    key_file: Annotated[str, "SFTP: file with the private key"] = ""
    passphrase_file: Annotated[str, "SFTP: file with the passphrase of an encrypted key"] = ""
    agent: Annotated[bool, "SFTP: log in with the keys of the SSH agent"] = False
    legacy_algorithms: Annotated[bool, "SFTP: allow CBC ciphers and MD5 or SHA-1 digests, for old servers"] = False
    active_mode: Annotated[bool, "FTP: the server opens the data connections, for servers without passive mode"] = False
    directory: Annotated[
        Name, "Directory of its files, or several, comma-separated; may contain a date: /pm/%Y%m%d"
    ] = "/"
    days_back: Annotated[Days, "Days before today whose directories are also listed"] = 1
    time_zone: Annotated[str, "Time zone of times and dates without one, a name in the tz database"] = "UTC"
    aliases: Annotated[tuple[str, ...], "Other names of the element in its files"] = ()
    connections: Annotated[
        ThreadsOrZero,
        "Largest number of connections to its host, over all processes; of the entries with that host, the smallest "
        "counts; 0: elements.connections-per-host",
    ] = 0
    idle_s: Annotated[
        SecondsOrZero,
        "Seconds after which an unused connection is closed, for elements that allow few; 0: elements.idle_s",
    ] = 0.0

    def __post_init__(self) -> None:
        if self.port == 0:
            object.__setattr__(self, "port", PROTOCOL_PORTS[self.protocol])
        zone(self.time_zone)
        for field in ("name", "host", "username", "password", "directory"):
            if CONTROL_CHARACTERS.search(getattr(self, field)):
                raise BadSettings(f"{field} must not contain control characters, such as line ends")

    @property
    def address(self) -> str:
        """The host and the port, which several endpoints may share."""
        return f"{self.host}:{self.port}"

    def announcement_partition(self, element: str) -> int:
        """Returns the partition in which the files of an element are announced.

        It is the same for all elements behind one address, so that one fetcher has all of them and its limit of
        connections holds for the host. Files on the fetchers' own disks need no connection: those of each element have
        a partition of their own.
        """
        return partition_of(element if self.protocol == "local" else self.address)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def login_password(self) -> str:
        return secret(self.password, self.password_file)

    @property
    def login(self) -> tuple[object, ...]:
        """All that a session depends on: elements behind one host that have it in common share their sessions."""
        return (
            *(self.protocol, self.host, self.port, self.username, self.password, self.password_file, self.key_file),
            *(self.passphrase_file, self.agent, self.legacy_algorithms, self.active_mode, self.time_zone),
            self.directory if self.protocol == "local" else "",
        )

    def directories(self, now_s: float) -> Sequence[bytes]:
        """Returns the directories to list now, the newest first."""
        named = [part.strip() for part in self.directory.split(",")]
        if "%" in self.directory:
            today = datetime.fromtimestamp(now_s, self.zone)
            days = [today - timedelta(days=n) for n in range(self.days_back + 1)]
            named = [day.strftime(part) for day in days for part in named]
        return [directory.encode() for directory in dict.fromkeys(named)]

    def element(self, unique_id: str) -> str:
        """Returns the managed element of a file, from the unique id in the file's name if there is one."""
        return self.name if not unique_id or unique_id in self.aliases else unique_id

    def __repr__(self) -> str:
        """Omits the password, because this text may be logged."""
        return f"Endpoint({self.name}, {self.protocol}://{self.username}@{self.host}:{self.port}{self.directory})"


@dataclass(frozen=True, slots=True)
class _Inventory:
    """The content of a file: the endpoints by name, or the reason why it is invalid."""

    endpoints: Mapping[str, Endpoint]
    refusal: str = ""


def endpoints(system: System, max_age_s: float = 0.0) -> Mapping[str, Endpoint]:
    """Returns a system's endpoints by name: the same immutable snapshot as long as the file's content is the same.

    Args:
        system: the system.
        max_age_s: a snapshot that was compared with the file within this time is returned without reading the file.

    Raises:
        BadSettings: the file is missing, or an entry is invalid or a duplicate.
    """
    if not system.inventory:
        raise BadSettings(f"{system.name}: no inventory; set `{system.name}: {{inventory: FILE}}`, YAML or CSV")
    file = Path(system.inventory)
    try:
        found = _SNAPSHOTS.current(file, max_age_s)
    except OSError as error:
        raise BadSettings(f"{file}: {error.strerror or error}") from error
    if found.refusal:
        raise BadSettings(found.refusal)
    return found.endpoints


def files_with_logins(systems: Iterable[System]) -> set[str]:
    """Returns the files that contain secrets of elements: those that inventories name, and inventories with passwords.

    An inventory that cannot be read is left out.
    """
    found: set[str] = set()
    for system in systems:
        with suppress(BadSettings):
            for one in endpoints(system).values():
                own_file = system.inventory if one.password else ""
                found |= {own_file, one.password_file, one.passphrase_file, one.key_file}
    return found - {""}


def _inventory(file: Path, content: bytes) -> _Inventory:
    try:
        return _Inventory(MappingProxyType(_endpoints(file, content)))
    except BadSettings as error:
        return _Inventory({}, str(error))


_SNAPSHOTS = FileSnapshots(_inventory)


def _endpoints(file: Path, content: bytes) -> dict[str, Endpoint]:
    found: dict[str, Endpoint] = {}
    for line, entry in _entries(file, content):
        for one in expanded(entry, f"{file} line {line}"):
            endpoint = resolve_texts(Endpoint, one, f"{file} line {line}", joint=": ")
            if endpoint.name in found:
                raise BadSettings(f"{file} line {line}: {endpoint.name} is listed twice")
            found[endpoint.name] = endpoint
    return found


def _entries(file: Path, content: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yields entries with their line numbers; all values are text, so that a name like 00123 stays unchanged."""
    try:
        yield from _csv(file, content) if file.suffix == ".csv" else _yaml(file, content)
    except BadSettings:
        raise
    except (yaml.YAMLError, csv.Error, ValueError, OverflowError, RecursionError) as error:
        raise BadSettings(f"{file}{problem(error)}") from None


def _csv(file: Path, content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(TextIOWrapper(BytesIO(content), encoding="utf-8-sig", newline=""))
    for row in reader:
        if any(row.pop(None, None) or ()):  # csv collects them under None
            raise BadSettings(f"{file} line {reader.line_num}: more fields than column names in the first line")
        yield reader.line_num, {key: Given(value) for key, value in row.items() if value}


class _TextLoader(yaml.SafeLoader):
    """Loads YAML with numbers, dates and booleans as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - declared like this in the base class
        first: [(tag, form) for tag, form in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _yaml(file: Path, content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    text = TextIOWrapper(BytesIO(content), encoding="utf-8").read()
    entries = flat_entries(text)
    for line, entry in _entries_by_python(file, text) if entries is None else entries:
        yield line, {key: Given(value) if isinstance(value, str) else value for key, value in entry.items()}


def _entries_by_python(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    loader = _TextLoader(text)
    try:
        root = loader.get_single_node()
        if not isinstance(root, yaml.SequenceNode):
            raise BadSettings(f"{file} is not a YAML list of elements")
        for node in root.value:
            line = node.start_mark.line + 1
            entry = loader.construct_object(node, deep=True)
            if not isinstance(entry, dict):
                raise BadSettings(f"{file} line {line}: an element must be a mapping of keys and values")
            yield line, entry
    finally:
        loader.dispose()


def expanded(entry: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Yields an entry unchanged, or all entries that a template stands for.

    >>> [e["name"] for e in expanded({"name": "enb-{n:03}", "range": "1-2,7"}, "")]
    ['enb-001', 'enb-002', 'enb-007']
    """
    ranges = next((value for key, value in entry.items() if plain_key(key) == RANGE), None)
    if ranges is None:
        yield dict(entry)
        return
    template = {key: value for key, value in entry.items() if plain_key(key) != RANGE}
    for n in numbers(str(ranges), where):
        try:
            yield {
                key: Given(value.format(n=n)) if isinstance(value, str) else value for key, value in template.items()
            }
        except (LookupError, ValueError, AttributeError):
            raise BadSettings(f"{where}: braces in a template must be {{n}} or a form like {{n:04}}") from None


def numbers(ranges: str, where: str) -> Iterator[int]:
    """Yields the numbers of a range: 1, 2, 3, 7 for 1-3,7.

    Raises:
        BadSettings: the range has another form, decreases, or contains too many numbers.
    """
    total = 0
    for part in ranges.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,18})\s*(?:-\s*([0-9]{1,18})\s*)?", part)
        if found is None:
            raise BadSettings(f"{where}: range {ranges[:80]!r} must have a form like 1-2000,3001")
        first, last = int(found[1]), int(found[2] or found[1])
        total += last - first + 1
        if last < first or total > MOST_NUMBERS:
            raise BadSettings(
                f"{where}: range {ranges[:80]!r} must increase and contain at most {MOST_NUMBERS:,} numbers"
            )
        yield from range(first, last + 1)
