"""Wiring: settings -> SystemManager -> run until SIGTERM."""

from services.scanner.settings import ScannerSettings
from services.scanner.system_manager import SystemManager
from shared import log, metrics
from shared.crash import or_leave, stop_on_signals
from shared.settings import load


def main() -> None:
    settings = load()
    own = settings.section("scanner", ScannerSettings)
    log.setup("scanner", settings.log)
    stop = stop_on_signals()
    with or_leave("scan"):
        manager = SystemManager(settings, own)
        metrics.serve("scanner", settings, metrics.HostCollector(manager.elements.statistics))
        manager.run(stop)


if __name__ == "__main__":
    main()
