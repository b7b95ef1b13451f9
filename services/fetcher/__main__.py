"""Wiring: settings -> download and move threads -> run until SIGTERM."""

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

from services.fetcher.dispatch import Dispatch
from services.fetcher.elements import Elements
from services.fetcher.jobs import FetchJobs, SettleJobs
from services.fetcher.producer import KafkaProducerWorker
from services.fetcher.settings import FetcherSettings
from services.fetcher.settle import Settler
from services.fetcher.worker import FileProcessorWorker
from shared import kafka, log
from shared.crash import or_leave, stop_on_signals
from shared.health import Heartbeat
from shared.settings import Settings, load
from shared.topics import FILES_FOUND, FILES_SETTLE, Topic


def dispatches(
    settings: Settings, own: FetcherSettings, producer: kafka.KafkaProducer, elements: Elements
) -> list[tuple[Topic, Dispatch]]:
    """The fetcher's two jobs: files in, files away."""
    brokers, heartbeat = settings.kafka.bootstrap_servers, Heartbeat(settings.health.file)
    out = KafkaProducerWorker(producer)
    settler = Settler(elements.session)
    worker = FileProcessorWorker(own, elements.session, elements.zone_offset_min, settler, out)
    downloads = {system.name: ThreadPoolExecutor(system.consumer_threads) for system in settings.systems}
    threads = sum(system.consumer_threads for system in settings.systems)
    moves = {"moves": ThreadPoolExecutor(own.movers)}
    return [
        (
            FILES_FOUND,
            Dispatch(
                consumer=kafka.consumer(brokers, "pmflow-fetcher"),
                producer=producer,
                pools=downloads,
                job_of=FetchJobs(worker, frozenset(downloads)),
                most_in_flight=threads * own.in_flight_per_thread,
                heartbeat=heartbeat,
            ),
        ),
        (
            FILES_SETTLE,
            Dispatch(
                consumer=kafka.consumer(brokers, "pmflow-fetcher-settle"),
                producer=producer,
                pools=moves,
                job_of=SettleJobs(own, settler, out),
                most_in_flight=own.movers * own.in_flight_per_thread,
                heartbeat=heartbeat,
            ),
        ),
    ]


def run(topic: Topic, dispatch: Dispatch, stop: Event) -> None:
    with or_leave(f"dispatch {topic.name}"):
        dispatch.run(topic.name, stop)


def main() -> None:
    settings = load()
    own = settings.section("fetcher", FetcherSettings)
    log.setup("fetcher", settings.log.level)
    stop = stop_on_signals()
    producer = kafka.KafkaProducer(settings.kafka.bootstrap_servers)
    elements = Elements(settings)
    threads = [
        Thread(target=run, args=(topic, dispatch, stop))
        for topic, dispatch in dispatches(settings, own, producer, elements)
    ]
    for thread in threads:
        thread.start()
    logging.getLogger(__name__).info("fetching", extra={"systems": [system.name for system in settings.systems]})
    for thread in threads:
        thread.join()
    elements.close()
    producer.close()


if __name__ == "__main__":
    main()
