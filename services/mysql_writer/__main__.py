"""Starts the service: writer threads, one thread for partitions and one for cycle statistics, until SIGTERM."""

from datetime import UTC, datetime
from threading import Event, Thread

from services.mysql_writer.cycles import CycleTable
from services.mysql_writer.repository import Repository
from services.mysql_writer.retention import Retention
from services.mysql_writer.settings import MysqlWriterSettings, mysql_rules
from services.mysql_writer.sink import MysqlWriterWorker
from shared import log, topics
from shared.crash import or_leave, stop_on_signals
from shared.health import Heartbeat, heartbeats
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Producer
from shared.metrics import serve_metrics
from shared.settings import Settings, load
from shared.sinks.cycles import CycleKeeper
from shared.sinks.loop import SinkWorker
from shared.watch import Watch


def work(watch: Watch, own: MysqlWriterSettings, producer: Producer, heartbeat: Heartbeat, stop: Event) -> None:
    """Runs one writer thread with connections of its own, until stopped."""

    def wanted() -> list[str]:
        return [topics.counters(system.name).name for system in watch.settings.systems]

    with or_leave("write to MySQL"):
        settings = watch.settings
        repository = Repository(settings.mysql, lambda system: mysql_rules(watch.settings, system))
        consumer = Consumer(settings.kafka.bootstrap_servers, "pmflow-mysql-writer")
        sink = MysqlWriterWorker(repository, heartbeat)
        SinkWorker(sink, consumer, producer, own, heartbeat).run(wanted, stop)
        repository.close()


def keep_cycles(settings: Settings, producer: Producer, heartbeat: Heartbeat, stop: Event) -> None:
    """Stores cycle statistics, until stopped."""
    with or_leave("keep cycles"):
        table = CycleTable(settings.mysql)
        consumer = Consumer(settings.kafka.bootstrap_servers, "pmflow-mysql-writer-cycles")
        CycleKeeper(consumer, DeadLetters(producer), table.keep, heartbeat).run(stop)
        table.close()


def keep_partitions(watch: Watch, look_s: float, stop: Event) -> None:
    """Maintains the day partitions of all systems, until stopped."""
    with or_leave("keep partitions"):
        retention = Retention(watch.settings.mysql)
        while not stop.is_set():
            for system in watch.settings.systems:
                retention.keep(system.name, system.retention_days, datetime.now(UTC).date())
            stop.wait(look_s)
        retention.close()


def main() -> None:
    settings = load()
    own = settings.section("mysql_writer", MysqlWriterSettings)
    log.setup("mysql_writer", settings.log)
    serve_metrics("mysql_writer", settings)
    stop = stop_on_signals()
    producer = Producer(settings.kafka.bootstrap_servers)
    watch = Watch(settings)
    cycle_heartbeat, *writer_heartbeats = heartbeats(settings.health.file, 1 + own.writers)
    threads = [Thread(target=work, args=(watch, own, producer, heartbeat, stop)) for heartbeat in writer_heartbeats]
    threads.append(Thread(target=keep_partitions, args=(watch, own.partition_look_s, stop)))
    threads.append(Thread(target=keep_cycles, args=(settings, producer, cycle_heartbeat, stop)))
    for thread in threads:
        thread.start()
    watch.follow(own.config_look_s, stop)
    for thread in threads:
        thread.join()
    producer.close()


if __name__ == "__main__":
    main()
