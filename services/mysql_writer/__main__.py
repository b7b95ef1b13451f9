"""Starts the service: writer threads, and one thread each for partitions, cycles and files, until SIGTERM."""

from datetime import UTC, datetime
from threading import Event, Thread

from services.mysql_writer.cycles import CycleTable
from services.mysql_writer.files import FileTable
from services.mysql_writer.repository import Repository
from services.mysql_writer.retention import Retention
from services.mysql_writer.settings import Mysql, MysqlWriterSettings, mysql_of, mysql_rules
from services.mysql_writer.sink import MysqlWriterWorker
from shared import log, topics
from shared.crash import exit_on_error, stop_on_signals
from shared.health import Heartbeat, heartbeats
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Producer
from shared.metrics import serve_metrics
from shared.settings import load
from shared.sinks.cycles import KEPT_CYCLES
from shared.sinks.files import KEPT_STATUSES
from shared.sinks.keeper import TableKeeper
from shared.sinks.loop import SinkWorker
from shared.watch import Watch


def work(watch: Watch, own: MysqlWriterSettings, producer: Producer, heartbeat: Heartbeat, stop: Event) -> None:
    """Runs one writer thread with connections of its own, until stopped."""

    def wanted() -> list[str]:
        return [topics.counters_topic(system.name).name for system in watch.settings.systems]

    with exit_on_error("write to MySQL"):
        settings = watch.settings
        repository = Repository(
            mysql_of(settings),
            lambda system: mysql_rules(watch.settings, system),
            objects_in_memory=own.objects_in_memory,
        )
        consumer = Consumer(settings.kafka.bootstrap_servers, "pmflow-mysql-writer")
        sink = MysqlWriterWorker(repository, heartbeat)
        SinkWorker(sink, consumer, producer, own, heartbeat).run(wanted, stop)
        repository.close()


def keep_cycles(watch: Watch, database: Mysql, producer: Producer, heartbeat: Heartbeat, stop: Event) -> None:
    """Stores cycle statistics, until stopped."""
    with exit_on_error("keep cycles"):
        table = CycleTable(database)
        consumer = Consumer(watch.settings.kafka.bootstrap_servers, "pmflow-mysql-writer-cycles")
        TableKeeper(KEPT_CYCLES, consumer, DeadLetters(producer), table.keep, heartbeat).run(stop)
        table.close()


def keep_files(watch: Watch, database: Mysql, producer: Producer, heartbeat: Heartbeat, stop: Event) -> None:
    """Stores the history of files, until stopped."""
    with exit_on_error("keep files"):
        table = FileTable(database, lambda system: mysql_rules(watch.settings, system).retention_days)
        consumer = Consumer(watch.settings.kafka.bootstrap_servers, "pmflow-mysql-writer-files")
        TableKeeper(KEPT_STATUSES, consumer, DeadLetters(producer), table.keep, heartbeat).run(stop)
        table.close()


def keep_partitions(watch: Watch, database: Mysql, look_s: float, stop: Event) -> None:
    """Maintains the day partitions of all systems, until stopped."""
    with exit_on_error("keep partitions"):
        retention = Retention(database)
        while not stop.is_set():
            for system in watch.settings.systems:
                retention.keep(system.name, system.retention_days, datetime.now(UTC).date())
            stop.wait(look_s)
        retention.close()


def main() -> None:
    """Runs the service until SIGTERM."""
    settings = load()
    own, database = settings.section("mysql_writer", MysqlWriterSettings), mysql_of(settings)
    brokers = settings.kafka.bootstrap_servers
    log.setup("mysql_writer", settings.log)
    serve_metrics("mysql_writer", settings)
    stop = stop_on_signals()
    producer = Producer(brokers)
    watch = Watch(settings)
    cycle_heartbeat, file_heartbeat, *writer_heartbeats = heartbeats(settings.health.file, 2 + own.writers)
    threads = [Thread(target=work, args=(watch, own, producer, heartbeat, stop)) for heartbeat in writer_heartbeats]
    threads.append(Thread(target=keep_partitions, args=(watch, database, own.partition_look_s, stop)))
    threads.append(Thread(target=keep_cycles, args=(watch, database, producer, cycle_heartbeat, stop)))
    threads.append(Thread(target=keep_files, args=(watch, database, producer, file_heartbeat, stop)))
    for thread in threads:
        thread.start()
    watch.follow(own.config_look_s, stop)
    for thread in threads:
        thread.join()
    producer.close()


if __name__ == "__main__":
    main()
