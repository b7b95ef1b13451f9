"""SystemManager: starts every configured system, and stops them all."""

import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from threading import Event, Thread

from services.scanner.file_producer import FileProducer
from services.scanner.leader import Leadership
from services.scanner.ledger import Ledger
from services.scanner.performance_management import PerformanceManagement
from services.scanner.settings import ScannerSettings
from shared.crash import or_leave
from shared.health import Heartbeat
from shared.inventory import endpoints
from shared.kafka import KafkaProducer
from shared.remote.service_manager import FtpServiceManager
from shared.settings import Settings, System

log = logging.getLogger(__name__)
PATIENCE_S = 15.0
"""For a system's threads to end; what they do may be done again."""


class SystemManager:
    """Owns what the systems share: the ledger, the producer, the sessions with elements and ZooKeeper."""

    def __init__(self, settings: Settings, own: ScannerSettings) -> None:
        brokers = settings.kafka.bootstrap_servers
        self.settings = settings
        self.own = own
        self.ledger = Ledger(brokers)
        self.producer = KafkaProducer(brokers)
        self.elements = FtpServiceManager(settings.elements)
        self.leadership = Leadership(settings.zookeeper.connection_string, f"{socket.gethostname()}-{os.getpid()}")
        self.heartbeat = Heartbeat(settings.health.file)

    def run(self, stop: Event) -> None:
        """Until stopped."""
        jobs = [self.ledger.follow, *(self._performance_management(system).run for system in self.settings.systems)]
        threads = [Thread(target=self._guarded, args=(job, stop), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        log.info("systems started", extra={"systems": [system.name for system in self.settings.systems]})
        stop.wait()
        for thread in threads:
            thread.join(PATIENCE_S)
        self.leadership.close()
        self.elements.close()
        self.producer.close()

    @staticmethod
    def _guarded(job: Callable[[Event], None], stop: Event) -> None:
        with or_leave("scan"):
            job(stop)

    def _performance_management(self, system: System) -> PerformanceManagement:
        files = FileProducer(system, self.own, self.elements, self.producer, self.ledger)
        return PerformanceManagement(
            system.name,
            self.settings.schedule,
            self.leadership,
            files,
            partial(endpoints, system),
            self.ledger.catch_up,
            self.heartbeat,
        )
