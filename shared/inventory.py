"""The inventory: where the elements of a system are fetched from.

A YAML list or a CSV file. An entry is one element, or a template of many: with `range: 1-2000,3001` each {n}
(or {n:04}) in its texts stands for a number.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from shared.settings import BadSettings, System, resolve, secret

USUAL_PORTS = {"sftp": 22, "ftp": 21, "ftps": 21, "ftps-implicit": 990, "local": 0}
RANGE = "range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One entry: a host and a directory; the credentials stay here and never travel."""

    name: Annotated[str, "unique in its system"]
    protocol: Annotated[str, "sftp, ftp, ftps (explicit), ftps-implicit or local"] = "sftp"
    host: Annotated[str, "address"] = "localhost"
    port: Annotated[int, "0: the protocol's usual one"] = 0
    username: Annotated[str, "login"] = ""
    password: Annotated[str, "unless a key is used"] = ""
    password_file: Annotated[str, "a file that holds the password; wins over `password`"] = ""
    key_file: Annotated[str, "SFTP: private key"] = ""
    passphrase_file: Annotated[str, "SFTP: a file that holds the passphrase of an encrypted key"] = ""
    agent: Annotated[bool, "SFTP: log in by the keys of the SSH agent"] = False
    legacy_algorithms: Annotated[bool, "SFTP: allow CBC ciphers and MD5 or SHA-1 digests, for old servers"] = False
    active_mode: Annotated[bool, "FTP: the server opens the data lines, for one that cannot be passive"] = False
    directory: Annotated[str, "where it writes its files; several by commas; may hold a date: /pm/%Y%m%d"] = "/"
    days_back: Annotated[int, "days before today whose directories are looked at too"] = 1
    time_zone: Annotated[str, "of times and dates without one, as in the tz database"] = "UTC"
    aliases: Annotated[tuple[str, ...], "other names its files call the element by"] = ()
    connections: Annotated[int, "at most to its host, in each process; 0: elements.connections-per-host"] = 0

    def __post_init__(self) -> None:
        if self.protocol not in USUAL_PORTS:
            raise BadSettings(f"{self.name}: protocol {self.protocol!r}; there are {', '.join(USUAL_PORTS)}")
        if self.port == 0:
            object.__setattr__(self, "port", USUAL_PORTS[self.protocol])
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise BadSettings(f"{self.name}: time-zone {self.time_zone!r} is not in the tz database") from error

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def login_password(self) -> str:
        return secret(self.password, self.password_file)

    def directories(self, now_s: float) -> Sequence[bytes]:
        """Those to look at now, the newest first."""
        today = datetime.fromtimestamp(now_s, self.zone)
        days = [today - timedelta(days=n) for n in range(self.days_back + 1)]
        named = [day.strftime(part.strip()) for day in days for part in self.directory.split(",")]
        return [directory.encode() for directory in dict.fromkeys(named)]

    def element(self, unique_id: str) -> str:
        """The managed element of a file by the unique id of its name, if it has one."""
        return self.name if not unique_id or unique_id in self.aliases else unique_id

    def __repr__(self) -> str:
        """Without the password: this ends in logs."""
        return f"Endpoint({self.name}, {self.protocol}://{self.username}@{self.host}:{self.port}{self.directory})"


def endpoints(system: System) -> Mapping[str, Endpoint]:
    """A system's inventory by name.

    Raises:
        BadSettings: the file is missing, an entry is wrong or comes twice.
    """
    if not system.inventory:
        raise BadSettings(f"{system.name}: no inventory; set `{system.name}: {{inventory: FILE}}`, YAML or CSV")
    file = Path(system.inventory)
    found: dict[str, Endpoint] = {}
    for number, entry in enumerate(_entries(system.name, file)):
        for one in expanded(entry, f"{file}[{number}]"):
            endpoint = resolve(Endpoint, one, f"{file}[{number}]")
            if endpoint.name in found:
                raise BadSettings(f"{system.name}: inventory {file}: {endpoint.name} comes twice")
            found[endpoint.name] = endpoint
    return found


def _entries(system: str, file: Path) -> list[dict[str, Any]]:
    try:
        if file.suffix == ".csv":
            with file.open(newline="") as lines:
                return [{key: _plain(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]
        entries = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError, csv.Error) as error:
        raise BadSettings(f"{system}: inventory {file}: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadSettings(f"{system}: inventory {file} is not a YAML list of elements")
    return entries


def _plain(value: str) -> Any:
    return int(value) if value.isdigit() else value


def expanded(entry: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """An entry as it is, or a template's many.

    >>> [e["name"] for e in expanded({"name": "enb-{n:03}", "range": "1-2,7"}, "")]
    ['enb-001', 'enb-002', 'enb-007']
    """
    if RANGE not in entry:
        yield dict(entry)
        return
    template = {key: value for key, value in entry.items() if key != RANGE}
    for n in numbers(str(entry[RANGE]), where):
        try:
            yield {key: value.format(n=n) if isinstance(value, str) else value for key, value in template.items()}
        except (KeyError, ValueError, IndexError) as error:
            raise BadSettings(f"{where}: a template may hold {{n}} or {{n:04}} alone: {error}") from error


def numbers(ranges: str, where: str) -> Iterator[int]:
    """1-3,7 -> 1, 2, 3, 7.

    Raises:
        BadSettings: not of that form.
    """
    for part in ranges.split(","):
        found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if found is None:
            raise BadSettings(f"{where}: range {ranges!r} is not like 1-2000,3001")
        yield from range(int(found[1]), int(found[2] or found[1]) + 1)
