"""Elements: the session for a file, by what the inventory says of its endpoint."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Lock

from shared.errors import Unreachable
from shared.inventory import Endpoint, endpoints
from shared.messages import File
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Session
from shared.settings import BadSettings, Settings


class Elements:
    """Shared by all threads of a fetcher."""

    def __init__(self, settings: Settings) -> None:
        self.systems = {system.name: system for system in settings.systems}
        self.manager = FtpServiceManager(settings.elements)
        self.inventories: dict[str, Mapping[str, Endpoint]] = {}
        self.lock = Lock()

    @contextmanager
    def session(self, file: File) -> Iterator[Session]:
        """A session with the element a file is on.

        Raises:
            Unreachable: no connection; or the inventory does not know the element (any more).
        """
        with self.manager.session(self._endpoint(file.system, file.endpoint)) as session:
            yield session

    def zone_offset_min(self, file: File) -> int:
        """The element's offset from UTC when it wrote the file."""
        zone = self._endpoint(file.system, file.endpoint).zone
        offset = datetime.fromtimestamp(file.mtime_s, zone).utcoffset() or timedelta()
        return int(offset.total_seconds() // 60)

    def _endpoint(self, system: str, name: str) -> Endpoint:
        with self.lock:
            if name not in self.inventories.get(system, {}):
                self.inventories[system] = self._read(system)  # the scanner knows a newer one than we
            if name not in self.inventories[system]:
                raise Unreachable(f"{system}: the inventory knows no element {name!r}")
            return self.inventories[system][name]

    def _read(self, system: str) -> Mapping[str, Endpoint]:
        if system not in self.systems:
            raise Unreachable(f"no system {system!r} is configured")
        try:
            return endpoints(self.systems[system])
        except BadSettings as error:
            raise Unreachable(str(error)) from error

    def close(self) -> None:
        self.manager.close()
