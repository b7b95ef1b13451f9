"""Wiring: settings -> writer threads -> run until SIGTERM."""

from threading import Event, Thread

from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import MysqlWriterSettings
from services.mysql_writer.writer import MysqlWriterWorker
from shared import kafka, log, topics
from shared.crash import or_leave, stop_on_signals
from shared.health import Heartbeat
from shared.settings import Settings, load
from shared.sink import SinkWorker


def work(settings: Settings, own: MysqlWriterSettings, producer: kafka.KafkaProducer, stop: Event) -> None:
    """One writer thread, from its connection to its partitions."""
    with or_leave("write to MySQL"):
        repository = Repository(settings.mysql, add_columns=settings.schedule.is_auto_adding_column)
        consumer = kafka.consumer(settings.kafka.bootstrap_servers, "pmflow-mysql-writer")
        sink = MysqlWriterWorker(repository, settings.systems)
        worker = SinkWorker(sink, consumer, producer, own, Heartbeat(settings.health.file))
        worker.run([topics.counters(system.name).name for system in settings.systems], stop)
        repository.close()


def main() -> None:
    settings = load()
    own = settings.section("mysql_writer", MysqlWriterSettings)
    log.setup("mysql_writer", settings.log.level)
    stop = stop_on_signals()
    producer = kafka.KafkaProducer(settings.kafka.bootstrap_servers)
    threads = [Thread(target=work, args=(settings, own, producer, stop)) for _ in range(own.writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    producer.close()


if __name__ == "__main__":
    main()
