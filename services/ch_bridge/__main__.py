"""Starts the service: one thread each for counters, cycle statistics and the history of files, until SIGTERM."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Thread

from services.ch_bridge.connection import Connection
from services.ch_bridge.cycles import CycleTable
from services.ch_bridge.files import FileTable
from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.settings import ChBridgeSettings, Clickhouse, clickhouse_of
from services.ch_bridge.sink import ClickhouseBridge
from shared import log, topics
from shared.configuration.secret_files import secret_files, warn_of_readable
from shared.crash import exit_on_error, stop_on_signals
from shared.defects import DefectBudget, budget_of
from shared.health import Heartbeat, heartbeats
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.permissions import require_access
from shared.kafka.produce import Producer
from shared.metrics import serve_metrics
from shared.settings import files_with_secrets, load
from shared.sinks.cycles import KEPT_CYCLES
from shared.sinks.files import KEPT_STATUSES
from shared.sinks.keeper import TableKeeper
from shared.sinks.loop import SinkWorker
from shared.sinks.rules import storage_rules
from shared.watch import Watch


@dataclass(frozen=True, kw_only=True)
class BridgeParts:
    """The objects that the service's threads share."""

    watch: Watch
    database: Clickhouse
    producer: Producer
    budget: DefectBudget
    stop: Event


def follow(watch: Watch, look_s: float, stop: Event) -> None:
    """Follows changes of the configuration, until stopped."""
    with exit_on_error("follow the configuration"):
        watch.follow(look_s, stop)


def keep_cycles(parts: BridgeParts, heartbeat: Heartbeat) -> None:
    """Stores cycle statistics, until stopped."""
    with exit_on_error("keep cycles"):
        connection = Connection(parts.database)
        consumer = Consumer(parts.watch.settings.kafka, "pmflow-ch-bridge-cycles")
        letters, table = DeadLetters(parts.producer), CycleTable(connection)
        TableKeeper(KEPT_CYCLES, consumer, letters, table, heartbeat, parts.budget).run(parts.stop)
        connection.close()


def keep_files(parts: BridgeParts, heartbeat: Heartbeat) -> None:
    """Stores the history of files, until stopped."""
    with exit_on_error("keep files"):
        connection, watch = Connection(parts.database), parts.watch
        consumer = Consumer(watch.settings.kafka, "pmflow-ch-bridge-files")
        letters = DeadLetters(parts.producer)
        table = FileTable(connection, lambda system: storage_rules(watch.settings, system).retention_days)
        TableKeeper(KEPT_STATUSES, consumer, letters, table, heartbeat, parts.budget).run(parts.stop)
        connection.close()


def start_keepers(parts: BridgeParts, own_heartbeats: Sequence[Heartbeat]) -> list[Thread]:
    """Starts the threads that fill pmflow's own tables; each has a heartbeat of its own."""
    threads = [
        Thread(target=keep, args=(parts, heartbeat))
        for keep, heartbeat in zip((keep_cycles, keep_files), own_heartbeats, strict=True)
    ]
    for thread in threads:
        thread.start()
    return threads


def main() -> None:
    """Runs the service until SIGTERM."""
    settings = load()
    own, database = settings.section("ch_bridge", ChBridgeSettings), clickhouse_of(settings)
    brokers = settings.kafka
    log.setup("ch_bridge", settings.log)
    warn_of_readable([*files_with_secrets(), *secret_files(brokers, database)])
    require_access(settings, "ch_bridge")
    serve_metrics("ch_bridge", settings)
    stop = stop_on_signals()
    watch = Watch(settings)
    heartbeat, *own_heartbeats = heartbeats(settings.health.file, 3)

    def wanted() -> list[str]:
        return [topics.counters_topic(s.name).name for s in watch.settings.systems if s.is_using_clickhouse]

    Thread(target=follow, args=(watch, own.config_look_s, stop), daemon=True).start()
    with exit_on_error("write to ClickHouse"):
        while not wanted() and not stop.wait(1.0):
            for idle in (heartbeat, *own_heartbeats):
                idle.progress()  # no system uses ClickHouse: idle, but healthy
        repository = ClickhouseRepository(database, lambda system: storage_rules(watch.settings, system))
        parts = BridgeParts(
            watch=watch, database=database, producer=Producer(brokers), budget=budget_of(settings.defects), stop=stop
        )
        keepers = start_keepers(parts, own_heartbeats)
        consumer, sink = Consumer(brokers, "pmflow-ch-bridge"), ClickhouseBridge(repository)
        SinkWorker(sink, consumer, parts.producer, own, heartbeat, parts.budget).run(wanted, stop)
        for thread in keepers:
            thread.join()
        parts.producer.close()
        repository.close()


if __name__ == "__main__":
    main()
