"""Wiring: settings -> writer threads -> run until SIGTERM."""

from threading import Event, Thread

from services.mysql_writer.cycles import CycleTable
from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import MysqlWriterSettings
from services.mysql_writer.writer import MysqlWriterWorker
from shared import kafka, log, metrics, topics
from shared.crash import or_leave, stop_on_signals
from shared.cycles import CycleKeeper
from shared.health import Heartbeat
from shared.settings import Settings, load
from shared.sink import SinkWorker
from shared.watch import Watch


def work(watch: Watch, own: MysqlWriterSettings, producer: kafka.KafkaProducer, stop: Event) -> None:
    """One writer thread, from its connection to its partitions."""

    def wanted() -> list[str]:
        return [topics.counters(system.name).name for system in watch.settings.systems]

    with or_leave("write to MySQL"):
        settings = watch.settings
        repository = Repository(settings.mysql, add_columns=settings.schedule.is_auto_adding_column)
        consumer = kafka.consumer(settings.kafka.bootstrap_servers, "pmflow-mysql-writer")
        sink = MysqlWriterWorker(repository, settings.systems)
        worker = SinkWorker(sink, consumer, producer, own, Heartbeat(settings.health.file))
        worker.run(wanted, stop)
        repository.close()


def keep_cycles(settings: Settings, producer: kafka.KafkaProducer, stop: Event) -> None:
    """The cycles' figures beside the counters, until stopped."""
    with or_leave("keep cycles"):
        table = CycleTable(settings.mysql)
        consumer = kafka.consumer(settings.kafka.bootstrap_servers, "pmflow-mysql-writer-cycles")
        CycleKeeper(consumer, producer, table.keep).run(stop)
        table.close()


def main() -> None:
    settings = load()
    own = settings.section("mysql_writer", MysqlWriterSettings)
    log.setup("mysql_writer", settings.log)
    metrics.serve("mysql_writer", settings)
    stop = stop_on_signals()
    producer = kafka.KafkaProducer(settings.kafka.bootstrap_servers)
    watch = Watch(settings)
    threads = [Thread(target=work, args=(watch, own, producer, stop)) for _ in range(own.writers)]
    threads.append(Thread(target=keep_cycles, args=(settings, producer, stop)))
    for thread in threads:
        thread.start()
    watch.follow(own.config_look_s, stop)
    for thread in threads:
        thread.join()
    producer.close()


if __name__ == "__main__":
    main()
