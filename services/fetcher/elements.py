"""Opens sessions with elements as the configuration and the inventories describe them now."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from zoneinfo import ZoneInfo

from shared.errors import Unreachable
from shared.inventory import Endpoint, endpoints
from shared.messages import File
from shared.remote.connection_shares import ConnectionShares
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Session
from shared.settings import BadSettings, Settings, System


def name_of_endpoint(file: File) -> str:
    """Returns a name for the host of a file if nothing is known but its endpoint."""
    return f"{file.system}/{file.endpoint}"


class ConfiguredElements:
    """The elements of all configured systems; shared by all threads of a fetcher.

    All methods that take a file raise Unreachable if its system is not configured or its element is not in the
    inventory (any more).
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Args: settings: returns the current settings."""
        self.settings = settings
        self.shares = ConnectionShares(settings)
        self.manager = FtpServiceManager(settings().elements, limit=self.shares.fetcher)
        self.inventories: dict[str, Mapping[str, Endpoint]] = {}
        """Inventory file -> its endpoints by name; read without a lock."""

    @contextmanager
    def session(self, file: File) -> Iterator[Session]:
        """Opens a session with the element that holds the file."""
        with self.manager.session(self._endpoint(file)) as session:
            yield session

    def system(self, file: File) -> System:
        """Returns the file's system as it is configured now."""
        found = self.settings().system(file.system)
        if found is None:
            raise Unreachable(f"system {file.system!r} is not configured")
        return found

    def zone(self, file: File) -> ZoneInfo:
        """Returns the element's time zone."""
        return self._endpoint(file).zone

    def aliases(self, file: File) -> Mapping[str, str]:
        """Returns alias of the file's element -> its name in the inventory."""
        endpoint = self._endpoint(file)
        return dict.fromkeys(endpoint.aliases, endpoint.name)

    def host(self, file: File) -> str:
        """Returns the host of a file's element; a name for the element alone if it is not in the inventory."""
        endpoint = self.shares.inventories.get(file.system, {}).get(file.endpoint)
        return name_of_endpoint(file) if endpoint is None or endpoint.protocol == "local" else endpoint.address

    def keep_only(self, partitions: Collection[int]) -> None:
        """Keeps sessions only with hosts of which the files are announced in these partitions.

        Those of all other hosts are closed as soon as they are unused, as another fetcher connects to these.
        """

        def keeps(endpoint: Endpoint) -> bool:
            return endpoint.protocol == "local" or endpoint.announcement_partition(endpoint.name) in partitions

        self.manager.keeps = keeps
        self.manager.close_idle(lambda endpoint: not keeps(endpoint))

    def refresh(self) -> None:
        """Follows a change of the configuration or of an inventory."""
        self.forget()
        self.shares.refresh()

    def forget(self) -> None:
        """Makes the next use of each inventory compare it with its file; what did not change is not parsed again."""
        self.inventories = {}

    def _endpoint(self, file: File) -> Endpoint:
        system = self.system(file)
        found = self.inventories.get(system.inventory, {}).get(file.endpoint)
        if found is None:  # not compared yet, or the scanner has read a newer one
            inventory = self.inventories[system.inventory] = self._read_inventory(system)
            found = inventory.get(file.endpoint)
        if found is None:
            raise Unreachable(f"{system.name}: element {file.endpoint!r} is not in the inventory")
        return found

    @staticmethod
    def _read_inventory(system: System) -> Mapping[str, Endpoint]:
        try:
            return endpoints(system)
        except BadSettings as error:
            raise Unreachable(str(error)) from error

    def close(self) -> None:
        """Closes all connections."""
        self.manager.close()
