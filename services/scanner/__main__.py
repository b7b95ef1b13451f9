"""Builds the scanner from its settings and runs it until SIGTERM: `python -m services.scanner`."""

from services.scanner.settings import ScannerSettings, zookeeper_of
from services.scanner.system_manager import SystemManager
from services.scanner.zookeeper import require_zookeeper
from shared import log
from shared.configuration.secret_files import secret_files, warn_of_readable
from shared.crash import exit_on_error, stop_on_signals
from shared.inventory import files_with_logins
from shared.kafka.permissions import require_access
from shared.metrics import serve_metrics
from shared.remote.metrics import HostCollector
from shared.settings import files_with_secrets, load


def main() -> None:
    """Runs the scanner until SIGTERM."""
    settings = load()
    own = settings.section("scanner", ScannerSettings)
    log.setup("scanner", settings.log)
    own_files = secret_files(settings.kafka, zookeeper_of(settings))
    warn_of_readable([*files_with_secrets(), *own_files, *files_with_logins(settings.systems)])
    require_access(settings, "scanner")
    require_zookeeper(zookeeper_of(settings))
    stop = stop_on_signals()
    with exit_on_error("scan"):
        manager = SystemManager(settings, own)
        serve_metrics("scanner", settings, HostCollector(manager.elements.statistics))
        manager.run(stop)


if __name__ == "__main__":
    main()
