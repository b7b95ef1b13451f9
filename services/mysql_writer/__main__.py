"""Starts the service: writer threads, and one thread each for partitions, cycles and files, until SIGTERM."""

from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread

from services.mysql_writer.cycles import CycleTable
from services.mysql_writer.files import FileTable
from services.mysql_writer.repository import Repository
from services.mysql_writer.retention import Retention
from services.mysql_writer.settings import Mysql, MysqlWriterSettings, mysql_of, mysql_rules
from services.mysql_writer.sink import MysqlWriterWorker
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
from shared.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterParts:
    """The objects that all threads share."""

    watch: Watch
    own: MysqlWriterSettings
    database: Mysql
    producer: Producer
    budget: DefectBudget
    stop: Event


def work(parts: WriterParts, heartbeat: Heartbeat) -> None:
    """Runs one writer thread with connections of its own, until stopped."""
    watch = parts.watch

    def wanted() -> list[str]:
        return [topics.counters_topic(system.name).name for system in watch.settings.systems]

    with exit_on_error("write to MySQL"):
        settings = watch.settings
        repository = Repository(
            mysql_of(settings),
            lambda system: mysql_rules(watch.settings, system),
            objects_in_memory=parts.own.objects_in_memory,
        )
        consumer = Consumer(settings.kafka, "pmflow-mysql-writer")
        sink = MysqlWriterWorker(repository, heartbeat)
        SinkWorker(sink, consumer, parts.producer, parts.own, heartbeat, parts.budget).run(wanted, parts.stop)
        repository.close()


def keep_cycles(parts: WriterParts, heartbeat: Heartbeat) -> None:
    """Stores cycle statistics, until stopped."""
    with exit_on_error("keep cycles"):
        table = CycleTable(parts.database)
        consumer = Consumer(parts.watch.settings.kafka, "pmflow-mysql-writer-cycles")
        TableKeeper(KEPT_CYCLES, consumer, DeadLetters(parts.producer), table, heartbeat, parts.budget).run(parts.stop)
        table.close()


def keep_files(parts: WriterParts, heartbeat: Heartbeat) -> None:
    """Stores the history of files, until stopped."""
    with exit_on_error("keep files"):
        table = FileTable(parts.database, lambda system: mysql_rules(parts.watch.settings, system).retention_days)
        consumer = Consumer(parts.watch.settings.kafka, "pmflow-mysql-writer-files")
        letters = DeadLetters(parts.producer)
        TableKeeper(KEPT_STATUSES, consumer, letters, table, heartbeat, parts.budget).run(parts.stop)
        table.close()


def keep_partitions(parts: WriterParts) -> None:
    """Maintains the day partitions of all systems, until stopped."""
    with exit_on_error("keep partitions"):
        retention = Retention(parts.database)
        while not parts.stop.is_set():
            for system in parts.watch.settings.systems:
                retention.keep(system.name, system.retention_days, datetime.now(UTC).date())
            parts.stop.wait(parts.own.partition_look_s)
        retention.close()


def main() -> None:
    """Runs the service until SIGTERM."""
    settings = load()
    own, database = settings.section("mysql_writer", MysqlWriterSettings), mysql_of(settings)
    log.setup("mysql_writer", settings.log)
    warn_of_readable([*files_with_secrets(), *secret_files(settings.kafka, database)])
    require_access(settings, "mysql_writer")
    serve_metrics("mysql_writer", settings)
    stop = stop_on_signals()
    parts = WriterParts(
        watch=Watch(settings),
        own=own,
        database=database,
        producer=Producer(settings.kafka),
        budget=budget_of(settings.defects),
        stop=stop,
    )
    cycle_heartbeat, file_heartbeat, *writer_heartbeats = heartbeats(settings.health.file, 2 + own.writers)
    threads = [Thread(target=work, args=(parts, heartbeat)) for heartbeat in writer_heartbeats]
    threads.append(Thread(target=keep_partitions, args=(parts,)))
    threads.append(Thread(target=keep_cycles, args=(parts, cycle_heartbeat)))
    threads.append(Thread(target=keep_files, args=(parts, file_heartbeat)))
    for thread in threads:
        thread.start()
    parts.watch.follow(own.config_look_s, stop)
    for thread in threads:
        thread.join()
    parts.producer.close()


if __name__ == "__main__":
    main()
