"""Starts the service: one thread for counters and one for cycle statistics, until SIGTERM."""

from threading import Event, Thread

from services.ch_bridge.connection import Connection
from services.ch_bridge.cycles import CycleTable
from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.settings import ChBridgeSettings, clickhouse_of
from services.ch_bridge.sink import ClickhouseBridge
from shared import log, topics
from shared.crash import exit_on_error, stop_on_signals
from shared.defects import budget_of
from shared.health import heartbeats
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Producer
from shared.metrics import serve_metrics
from shared.settings import load
from shared.sinks.cycles import CycleKeeper
from shared.sinks.loop import SinkWorker
from shared.sinks.rules import storage_rules
from shared.watch import Watch


def follow(watch: Watch, look_s: float, stop: Event) -> None:
    """Follows changes of the configuration, until stopped."""
    with exit_on_error("follow the configuration"):
        watch.follow(look_s, stop)


def keep_cycles(keeper: CycleKeeper, connection: Connection, stop: Event) -> None:
    """Stores cycle statistics, until stopped."""
    with exit_on_error("keep cycles"):
        keeper.run(stop)
        connection.close()


def main() -> None:
    """Runs the service until SIGTERM."""
    settings = load()
    own, database = settings.section("ch_bridge", ChBridgeSettings), clickhouse_of(settings)
    brokers = settings.kafka.bootstrap_servers
    log.setup("ch_bridge", settings.log)
    serve_metrics("ch_bridge", settings)
    stop = stop_on_signals()
    watch = Watch(settings)
    heartbeat, cycle_heartbeat = heartbeats(settings.health.file, 2)

    def wanted() -> list[str]:
        return [topics.counters_topic(s.name).name for s in watch.settings.systems if s.is_using_clickhouse]

    Thread(target=follow, args=(watch, own.config_look_s, stop), daemon=True).start()
    with exit_on_error("write to ClickHouse"):
        while not wanted() and not stop.wait(1.0):
            heartbeat.progress()
            cycle_heartbeat.progress()  # no system uses ClickHouse: idle, but healthy
        repository = ClickhouseRepository(database, lambda system: storage_rules(watch.settings, system))
        producer = Producer(brokers)
        budget = budget_of(settings.defects)
        connection, consumer = Connection(database), Consumer(brokers, "pmflow-ch-bridge-cycles")
        keeper = CycleKeeper(consumer, DeadLetters(producer), CycleTable(connection), cycle_heartbeat, budget)
        cycles = Thread(target=keep_cycles, args=(keeper, connection, stop))
        cycles.start()
        consumer = Consumer(brokers, "pmflow-ch-bridge")
        SinkWorker(ClickhouseBridge(repository), consumer, producer, own, heartbeat, budget).run(wanted, stop)
        cycles.join()
        producer.close()
        repository.close()


if __name__ == "__main__":
    main()
