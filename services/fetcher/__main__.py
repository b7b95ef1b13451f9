"""Wiring: settings -> download and move threads -> run until SIGTERM."""

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread

from services.fetcher import meaning
from services.fetcher.dispatch import Dispatch
from services.fetcher.elements import Elements
from services.fetcher.jobs import FetchJobs, SettleJobs
from services.fetcher.meaning import Meanings
from services.fetcher.parse import profile
from services.fetcher.parsed import Origin, Parsed
from services.fetcher.parsers import Budget, Limits, Parsers
from services.fetcher.parsing import Room
from services.fetcher.pools import Pools
from services.fetcher.producer import KafkaProducerWorker
from services.fetcher.settings import FetcherSettings
from services.fetcher.settle import Settler
from services.fetcher.waiting import Waiting
from services.fetcher.worker import FileProcessorWorker
from shared import log, metrics
from shared.crash import or_leave, stop_on_signals
from shared.health import heartbeats
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Producer
from shared.settings import load
from shared.topics import FILES_FOUND, FILES_SETTLE, Topic
from shared.watch import Watch


def dispatches(
    watch: Watch,
    own: FetcherSettings,
    producers: Sequence[Producer],
    elements: Elements,
    parsers: Parsers,
) -> list[tuple[Topic, Dispatch]]:
    """The fetcher's two jobs: files in, files away."""
    settings = watch.settings
    brokers, (fetching, moving) = settings.kafka.bootstrap_servers, heartbeats(settings.health.file, 2)
    out = KafkaProducerWorker(producers)
    settler = Settler(elements.session, elements.system, elements.zone)
    memory = Budget(own.bytes_in_flight).take

    def parse(data: bytes | Path, origin: Origin) -> Parsed:
        with metrics.PARSE_SECONDS.time(), metrics.PARSING.track_inprogress():
            return parsers(data, origin)

    worker = FileProcessorWorker(
        own, elements.session, elements.zone_offset_min, elements.aliases, settler, out, parse, memory
    )

    def threads() -> dict[str, int]:
        return {system.name: system.consumer_threads for system in watch.settings.systems}

    def knows(system: str) -> bool:
        return system in threads() or (watch.look() is not None and system in threads())  # the scanner may be quicker

    return [
        (
            FILES_FOUND,
            Dispatch(
                consumer=Consumer(brokers, "pmflow-fetcher"),
                letters=DeadLetters(producers[0]),
                pools=Pools(threads),
                job_of=FetchJobs(worker, knows, Waiting(own.files_per_session, own.spool_bytes)),
                in_flight_per_thread=own.in_flight_per_thread,
                heartbeat=fetching,
            ),
        ),
        (
            FILES_SETTLE,
            Dispatch(
                consumer=Consumer(brokers, "pmflow-fetcher-settle"),
                letters=DeadLetters(producers[0]),
                pools=Pools(lambda: {"moves": own.movers}),
                job_of=SettleJobs(own, settler, out),
                in_flight_per_thread=own.in_flight_per_thread,
                heartbeat=moving,
            ),
        ),
    ]


def run(topic: Topic, dispatch: Dispatch, stop: Event) -> None:
    with or_leave(f"dispatch {topic.name}"):
        dispatch.run(topic.name, stop)


def main() -> None:
    settings = load()
    own = settings.section("fetcher", FetcherSettings)
    log.setup("fetcher", settings.log)
    stop = stop_on_signals()
    producers = [Producer(settings.kafka.bootstrap_servers) for _ in range(own.producers)]
    room = Room(memory_mb=own.parser_memory_mb, held_mb=own.parsed_memory_mb, spool_directory=own.spool_directory)
    limits = Limits(processes=own.parsers, timeout_s=own.parse_timeout_s, room=room)
    meaning.check(settings)
    watch = Watch(settings, meaning.check)
    profiles = tuple(profile.read([*map(Path, own.profiles), profile.SHIPPED]))
    parsers = Parsers(limits, profiles, Meanings(lambda: watch.settings))
    metrics.PARSERS.set(parsers.count)
    elements = Elements(lambda: watch.settings)
    metrics.serve("fetcher", settings, metrics.HostCollector(elements.manager.statistics))
    threads = [
        Thread(target=run, args=(topic, dispatch, stop))
        for topic, dispatch in dispatches(watch, own, producers, elements, parsers)
    ]
    for thread in threads:
        thread.start()
    logging.getLogger(__name__).info("fetching", extra={"systems": [system.name for system in settings.systems]})
    while not stop.wait(own.config_look_s):
        watch.look()
        elements.forget()
    for thread in threads:
        thread.join()
    elements.close()
    parsers.close()
    for producer in producers:
        producer.close()


if __name__ == "__main__":
    main()
