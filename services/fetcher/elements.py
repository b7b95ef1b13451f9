"""Elements: the session for a file, by what the configuration and the inventory say of its endpoint now."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Lock
from zoneinfo import ZoneInfo

from shared.errors import Unreachable
from shared.inventory import Endpoint, endpoints
from shared.messages import File
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Session
from shared.settings import BadSettings, Settings, System


class Elements:
    """Shared by all threads of a fetcher.

    Raises (all methods that take a file):
        Unreachable: no such system, or the inventory does not know the element (any more).
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Args: settings: as they are now."""
        self.settings = settings
        self.manager = FtpServiceManager(settings().elements)
        self.inventories: dict[System, Mapping[str, Endpoint]] = {}
        self.lock = Lock()

    @contextmanager
    def session(self, file: File) -> Iterator[Session]:
        """A session with the element a file is on."""
        with self.manager.session(self._endpoint(file)) as session:
            yield session

    def system(self, file: File) -> System:
        """The file's system as it is configured now."""
        found = self.settings().system(file.system)
        if found is None:
            raise Unreachable(f"no system {file.system!r} is configured")
        return found

    def zone(self, file: File) -> ZoneInfo:
        """The element's."""
        return self._endpoint(file).zone

    def zone_offset_min(self, file: File) -> int:
        """The element's offset from UTC when it wrote the file."""
        offset = datetime.fromtimestamp(file.mtime_s, self.zone(file)).utcoffset() or timedelta()
        return int(offset.total_seconds() // 60)

    def aliases(self, file: File) -> Mapping[str, str]:
        """Other names the file may call its element by -> its own."""
        endpoint = self._endpoint(file)
        return dict.fromkeys(endpoint.aliases, endpoint.name)

    def forget(self) -> None:
        """Inventories are read again when they are needed: their files may have changed."""
        with self.lock:
            self.inventories.clear()

    def _endpoint(self, file: File) -> Endpoint:
        system = self.system(file)
        with self.lock:
            if file.endpoint not in self.inventories.get(system, {}):
                self.inventories[system] = self._read(system)  # the scanner knows a newer one than we
            if file.endpoint not in self.inventories[system]:
                raise Unreachable(f"{system.name}: the inventory knows no element {file.endpoint!r}")
            return self.inventories[system][file.endpoint]

    @staticmethod
    def _read(system: System) -> Mapping[str, Endpoint]:
        try:
            return endpoints(system)
        except BadSettings as error:
            raise Unreachable(str(error)) from error

    def close(self) -> None:
        self.manager.close()
