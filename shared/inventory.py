"""The inventory: where the elements of a system are fetched from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml

from shared.settings import BadSettings, System, resolve

USUAL_PORTS = {"sftp": 22, "ftp": 21, "ftps": 21, "ftps-implicit": 990, "local": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One entry: a host and a directory; the credentials stay here and never travel."""

    name: Annotated[str, "unique in its system"]
    protocol: Annotated[str, "sftp, ftp, ftps (explicit), ftps-implicit or local"] = "sftp"
    host: Annotated[str, "address"] = "localhost"
    port: Annotated[int, "0: the protocol's usual one"] = 0
    username: Annotated[str, "login"] = ""
    password: Annotated[str, "unless a key is used"] = ""
    key_file: Annotated[str, "private key"] = ""
    directory: Annotated[str, "where the element writes its files"] = "/"

    def __post_init__(self) -> None:
        if self.protocol not in USUAL_PORTS:
            raise BadSettings(f"{self.name}: protocol {self.protocol!r}; there are {', '.join(USUAL_PORTS)}")
        if self.port == 0:
            object.__setattr__(self, "port", USUAL_PORTS[self.protocol])

    def __repr__(self) -> str:
        """Without the password: this ends in logs."""
        return f"Endpoint({self.name}, {self.protocol}://{self.username}@{self.host}:{self.port}{self.directory})"


def endpoints(system: System) -> Mapping[str, Endpoint]:
    """A system's inventory by name.

    Raises:
        BadSettings: the file is missing, an entry is wrong or comes twice.
    """
    if not system.inventory:
        raise BadSettings(f"{system.name}: no inventory; set `{system.name}: {{inventory: FILE}}`, a YAML list")
    file = Path(system.inventory)
    try:
        entries = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise BadSettings(f"{system.name}: inventory {file}: {error}") from error
    if not isinstance(entries, list):
        raise BadSettings(f"{system.name}: inventory {file} is not a YAML list")
    found: dict[str, Endpoint] = {}
    for entry in entries:
        endpoint = resolve(Endpoint, entry, f"{file}[{len(found)}]")
        if endpoint.name in found:
            raise BadSettings(f"{system.name}: inventory {file}: {endpoint.name} comes twice")
        found[endpoint.name] = endpoint
    return found
