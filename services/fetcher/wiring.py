"""Builds the fetcher from its settings and runs it until SIGTERM."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from threading import Event, Thread

from services.fetcher import metrics
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.download import EndpointDownload
from services.fetcher.elements import ConfiguredElements
from services.fetcher.history import LedgerLookup
from services.fetcher.intake.backlog import Backlog
from services.fetcher.intake.dispatch import Dispatch
from services.fetcher.intake.jobs import FetchJobs
from services.fetcher.intake.pools import Pools
from services.fetcher.intake.settle_jobs import SettleJobs
from services.fetcher.intake.waiting_files import WaitingFiles
from services.fetcher.intake.waiting_records import ticket_of_command
from services.fetcher.parse.tables import profile
from services.fetcher.parse_pool.child import ParserMemory
from services.fetcher.parse_pool.container import content_of, memory_limit_mb
from services.fetcher.parse_pool.fair_threads import FairThreads
from services.fetcher.parse_pool.memory import MemoryShares
from services.fetcher.parse_pool.pool import ParserPool, ParserPoolLimits
from services.fetcher.preprocess.load import PreprocessingCatalog, check_preprocessing
from services.fetcher.publish import KafkaProducerWorker
from services.fetcher.settings import THREADS_PER_PARSER, FetcherSettings
from services.fetcher.settle.settler import Settler
from services.fetcher.worker import FileProcessorWorker
from shared import log
from shared.crash import exit_on_error, stop_on_signals
from shared.defects import DefectBudget, budget_of
from shared.health import Heartbeat, heartbeats
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.permissions import require_access
from shared.kafka.produce import Producer
from shared.metrics import serve_metrics
from shared.remote.metrics import HostCollector
from shared.settings import load
from shared.topics import DAY_MS, FILES_FOUND, FILES_SETTLE, Topic
from shared.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The objects that the fetcher's two loops share."""

    watch: Watch
    own: FetcherSettings
    producers: Sequence[Producer]
    elements: ConfiguredElements
    parsers: ParserPool
    threads: FairThreads
    settler: Settler
    budget: DefectBudget


def file_processor(parts: Parts, publisher: KafkaProducerWorker) -> FileProcessorWorker:
    """Returns the worker that fetches, parses and publishes files."""
    own, elements = parts.own, parts.elements

    def parse(data: bytes | Path, origin: Origin) -> Parsed:
        with metrics.PARSE_SECONDS.time(), metrics.PARSING.track_inprogress():
            return parts.parsers(data, origin)

    return FileProcessorWorker(
        own,
        EndpointDownload(own, elements.session),
        elements.zone,
        elements.aliases,
        parts.settler,
        publisher,
        parse,
        MemoryShares(own.bytes_in_flight, lambda: len(parts.watch.settings.systems)).take,
        parts.threads.submit,
        LedgerLookup(parts.watch.settings.kafka),
        lambda: parts.watch.settings.ledger.keep_days * DAY_MS / 1000 or inf,
    )


def fetch_jobs(
    parts: Parts, publisher: KafkaProducerWorker, backlog: Backlog, knows: Callable[[str], bool]
) -> FetchJobs:
    """Returns what turns announcements into work."""
    return FetchJobs(
        process=file_processor(parts, publisher),
        knows=knows,
        waiting=WaitingFiles(parts.own.files_per_session, parts.own.spool_bytes),
        publish=publisher.answer,
        letters=DeadLetters(parts.producers[0]),
        budget=parts.budget,
        renew=parts.elements.forget,
        on_read=backlog.on_read,
        may_be_repeated=backlog.includes,
    )


def fetch_loop(parts: Parts, heartbeat: Heartbeat) -> Dispatch:
    """Returns the loop that reads announcements and fetches files."""
    own, watch = parts.own, parts.watch

    def threads() -> dict[str, int]:
        return {system.name: system.consumer_threads for system in watch.settings.systems}

    def is_configured(system: str) -> bool:
        return system in threads() or (watch.look() is not None and system in threads())  # the scanner may be ahead

    publisher, pools = KafkaProducerWorker(parts.producers), Pools(threads)
    consumer = Consumer(watch.settings.kafka, "pmflow-fetcher")
    jobs = fetch_jobs(parts, publisher, Backlog(consumer.lag), is_configured)
    return Dispatch(
        consumer=consumer,
        letters=jobs.letters,
        pools=pools,
        ticket_of=jobs.ticket,
        job_of=jobs,
        in_flight_of=lambda system: pools.threads(system) * own.in_flight_per_thread,
        flush=publisher.flush,
        max_waiting=own.max_waiting,
        heartbeat=heartbeat,
        budget=parts.budget,
        renew=parts.elements.forget,
    )


def settle_loop(parts: Parts, heartbeat: Heartbeat) -> Dispatch:
    """Returns the loop that reads commands and moves finished files away."""
    own, publisher, forget = parts.own, KafkaProducerWorker(parts.producers), parts.elements.forget
    letters = DeadLetters(parts.producers[0])
    return Dispatch(
        consumer=Consumer(parts.watch.settings.kafka, "pmflow-fetcher-settle"),
        letters=letters,
        pools=Pools(lambda: {"moves": own.movers}),
        ticket_of=ticket_of_command,
        job_of=SettleJobs(own, parts.settler.settle, publisher.answer, letters, parts.budget, forget),
        in_flight_of=lambda _: own.commands_in_flight,
        flush=publisher.flush,
        max_waiting=own.max_waiting,
        heartbeat=heartbeat,
        budget=parts.budget,
        renew=forget,
    )


def build_parts(watch: Watch, own: FetcherSettings) -> Parts:
    """Returns the shared objects; starts no parser process."""
    memory = ParserMemory(
        memory_mb=own.parser_memory_mb, held_mb=own.parsed_memory_mb, spool_directory=own.spool_directory
    )
    limits = ParserPoolLimits(processes=own.parsers, timeout_s=own.parse_timeout_s, memory=memory)
    profiles = tuple(profile.read_profiles([*map(Path, own.profiles), profile.SHIPPED]))
    elements = ConfiguredElements(lambda: watch.settings)
    producers = [Producer(watch.settings.kafka) for _ in range(own.producers)]
    parsers = ParserPool(limits, profiles, PreprocessingCatalog(lambda: watch.settings))
    return Parts(
        watch=watch,
        own=own,
        producers=producers,
        elements=elements,
        parsers=parsers,
        threads=FairThreads(THREADS_PER_PARSER * parsers.count),
        settler=Settler(elements.session, elements.system, elements.zone),
        budget=budget_of(watch.settings.defects),
    )


def run_loop(topic: Topic, dispatch: Dispatch, stop: Event) -> None:
    """Runs a loop until stopped; an unexpected error ends the process."""
    with exit_on_error(f"dispatch {topic.name}"):
        dispatch.run(topic.name, stop)


def check_memory(own: FetcherSettings, parsers: int, limit_mb: int | None) -> None:
    """Warns if the container may get too little memory: it would be killed with all that is in progress."""
    needed_mb = own.memory_mb(parsers)
    if limit_mb is not None and limit_mb < needed_mb:
        extra = {"limit_mb": limit_mb, "needed_mb": needed_mb, "parsers": parsers}
        logging.getLogger(__name__).warning("memory limit of the container too low for the settings", extra=extra)


def main() -> None:
    """Runs the fetcher until SIGTERM."""
    settings = load()
    own = settings.section("fetcher", FetcherSettings)
    log.setup("fetcher", settings.log)
    require_access(settings, "fetcher")
    stop = stop_on_signals()
    check_preprocessing(settings)
    watch = Watch(settings, check_preprocessing)
    parts = build_parts(watch, own)
    metrics.PARSERS.set(parts.parsers.count)
    check_memory(own, parts.parsers.count, memory_limit_mb(content_of))
    serve_metrics("fetcher", settings, HostCollector(parts.elements.manager.statistics))
    fetch_heartbeat, settle_heartbeat = heartbeats(settings.health.file, 2)
    loops = ((FILES_FOUND, fetch_loop(parts, fetch_heartbeat)), (FILES_SETTLE, settle_loop(parts, settle_heartbeat)))
    threads = [Thread(target=run_loop, args=(topic, dispatch, stop)) for topic, dispatch in loops]
    for thread in threads:
        thread.start()
    logging.getLogger(__name__).info("fetcher started", extra={"systems": [system.name for system in settings.systems]})
    while not stop.wait(own.config_look_s):
        watch.look()
        parts.elements.forget()
    for thread in threads:
        thread.join()
    close(parts)


def close(parts: Parts) -> None:
    """Closes connections, parser processes and producers."""
    parts.elements.close()
    parts.threads.close()
    parts.parsers.close()
    for producer in parts.producers:
        producer.close()
