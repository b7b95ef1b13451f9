"""Wiring: settings -> SystemManager -> run until SIGTERM."""

from services.scanner.settings import ScannerSettings
from services.scanner.system_manager import SystemManager
from shared import log
from shared.crash import or_leave, stop_on_signals
from shared.settings import load


def main() -> None:
    settings = load()
    own = settings.section("scanner", ScannerSettings)
    log.setup("scanner", settings.log.level)
    stop = stop_on_signals()
    with or_leave("scan"):
        SystemManager(settings, own).run(stop)


if __name__ == "__main__":
    main()
