"""Builds the fetcher from its settings and runs it until SIGTERM."""

import logging
from collections.abc import Collection, Sequence
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
from services.fetcher.intake.settle_jobs import POOL_OF_MOVERS, SettleJobs
from services.fetcher.intake.topic_intake import TopicIntake
from services.fetcher.intake.waiting_files import FilesTogether, WaitingFiles
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
from shared.configuration.secret_files import secret_files, warn_of_readable
from shared.crash import exit_on_error, stop_on_signals
from shared.defects import DefectBudget, budget_of
from shared.health import Heartbeat
from shared.inventory import files_with_logins
from shared.kafka.co_partitioned import CoPartitionedConsumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.permissions import require_access
from shared.kafka.produce import Producer
from shared.kafka.record import TopicPartition
from shared.metrics import serve_metrics
from shared.remote.metrics import HostCollector
from shared.settings import files_with_secrets, load
from shared.topics import DAY_MS, FILES_FOUND, FILES_SETTLE
from shared.watch import Watch

FORMER_SETTLE_GROUP = "pmflow-fetcher-settle"
"""The group that read the commands in earlier versions: what it left unread is carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The objects that both kinds of work share."""

    watch: Watch
    own: FetcherSettings
    producers: Sequence[Producer]
    elements: ConfiguredElements
    parsers: ParserPool
    threads: FairThreads
    settler: Settler
    budget: DefectBudget

    def download_threads(self) -> dict[str, int]:
        """Returns the number of download threads of each system."""
        return {system.name: system.consumer_threads for system in self.watch.settings.systems}


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


def fetch_jobs(parts: Parts, publisher: KafkaProducerWorker, backlog: Backlog) -> FetchJobs:
    """Returns what turns announcements into work."""
    watch, threads = parts.watch, parts.download_threads

    def knows(system: str) -> bool:
        return system in threads() or (watch.look() is not None and system in threads())  # the scanner may be ahead

    return FetchJobs(
        process=file_processor(parts, publisher),
        knows=knows,
        waiting=WaitingFiles(
            FilesTogether(parts.own.files_per_session, parts.own.spool_bytes), lambda system: threads().get(system, 1)
        ),
        publish=publisher.answer,
        letters=DeadLetters(parts.producers[0]),
        budget=parts.budget,
        renew=parts.elements.forget,
        on_read=backlog.on_read,
        may_be_repeated=backlog.includes,
        host_of=parts.elements.host,
    )


def announcements(parts: Parts, publisher: KafkaProducerWorker, backlog: Backlog) -> TopicIntake:
    """Returns what is done with announcements: their files are fetched."""
    own, jobs, pools = parts.own, fetch_jobs(parts, publisher, backlog), Pools(parts.download_threads)
    return TopicIntake(
        topic=FILES_FOUND.name,
        letters=jobs.letters,
        pools=pools,
        ticket_of=jobs.ticket,
        job_of=jobs,
        in_flight_of=lambda system: pools.threads(system) * own.in_flight_per_thread,
        max_waiting=own.max_waiting,
    )


def commands(parts: Parts, publisher: KafkaProducerWorker) -> TopicIntake:
    """Returns what is done with commands: finished files are moved away."""
    own, elements, letters = parts.own, parts.elements, DeadLetters(parts.producers[0])
    jobs = SettleJobs(
        own, parts.settler.settle, publisher.answer, letters, parts.budget, elements.forget, elements.host
    )
    return TopicIntake(
        topic=FILES_SETTLE.name,
        letters=letters,
        pools=Pools(lambda: {POOL_OF_MOVERS: own.movers}),
        ticket_of=jobs.ticket,
        job_of=jobs,
        in_flight_of=lambda _: own.commands_in_flight,
        max_waiting=own.max_waiting,
    )


def dispatch_of(parts: Parts) -> Dispatch:
    """Returns the loop that reads announcements and commands.

    One consumer reads both, so that the process that fetched a file also moves it, over the same connections.
    """
    publisher = KafkaProducerWorker(parts.producers)
    consumer = CoPartitionedConsumer(parts.watch.settings.kafka, "pmflow-fetcher", {FILES_SETTLE: FORMER_SETTLE_GROUP})

    def on_partitions(partitions: Collection[TopicPartition]) -> None:
        parts.elements.keep_only({at.partition for at in partitions if at.topic == FILES_FOUND.name})

    return Dispatch(
        consumer=consumer,
        intakes=(announcements(parts, publisher, Backlog(consumer.lag)), commands(parts, publisher)),
        flush=publisher.flush,
        heartbeat=Heartbeat(parts.watch.settings.health.file),
        budget=parts.budget,
        renew=parts.elements.forget,
        on_partitions=on_partitions,
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


def run_dispatch(dispatch: Dispatch, stop: Event) -> None:
    """Runs the loop until stopped; an unexpected error ends the process."""
    with exit_on_error("dispatch"):
        dispatch.run(stop)


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
    warn_of_readable([*files_with_secrets(), *secret_files(settings.kafka), *files_with_logins(settings.systems)])
    require_access(settings, "fetcher")
    stop = stop_on_signals()
    check_preprocessing(settings)
    watch = Watch(settings, check_preprocessing)
    parts = build_parts(watch, own)
    metrics.PARSERS.set(parts.parsers.count)
    check_memory(own, parts.parsers.count, memory_limit_mb(content_of))
    serve_metrics("fetcher", settings, HostCollector(parts.elements.manager.statistics))
    thread = Thread(target=run_dispatch, args=(dispatch_of(parts), stop))
    thread.start()
    logging.getLogger(__name__).info("fetcher started", extra={"systems": [system.name for system in settings.systems]})
    while not stop.wait(own.config_look_s):
        watch.look()
        parts.elements.refresh()
    thread.join()
    close(parts)


def close(parts: Parts) -> None:
    """Closes connections, parser processes and producers."""
    parts.elements.close()
    parts.threads.close()
    parts.parsers.close()
    for producer in parts.producers:
        producer.close()
