"""FileProcessorWorker takes announced files from the element to the counters topic; knows neither Kafka nor SFTP."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from time import monotonic, time
from typing import Protocol
from zoneinfo import ZoneInfo

from services.fetcher import metrics, reasons
from services.fetcher.assemble.result import Counts, Origin, Parsed, Quarantined
from services.fetcher.download import Fetched, FileContent
from services.fetcher.history import EarlierAnswer, FileHistory, is_older
from services.fetcher.intake.waiting_files import Announced
from services.fetcher.parse.unpack import Incomplete
from services.fetcher.parse.values.period import is_plausible
from services.fetcher.settings import FetcherSettings
from shared.errors import Hopeless, Unreachable
from shared.messages import FileFound, FileStatus, bounded_text, status_of
from shared.remote.session import Gone
from shared.versions import version_of

log = logging.getLogger(__name__)


class FilePublisher(Protocol):
    """Publishes files. Blocks until durable; raises Unreachable, and then nothing of the file counts as done."""

    def counters(self, file: FileFound, batches: Iterable[bytes]) -> tuple[str, int, int, int]:
        """Sends all batches of a file, each requested when the one before is on its way.

        Returns the topic, the partition and the offsets of the first and the last batch; -1 if there is none.
        """

    def quarantine(self, file: FileFound, blocks: Sequence[Quarantined]) -> None: ...

    def fetching(self, files: Sequence[FileStatus]) -> None:
        """Publishes the status `fetching` without waiting; later statuses of a file are durable only after this one."""

    def status(self, status: FileStatus) -> None: ...


class SettledFiles(Protocol):
    """Finds files that were already moved away; raises Unreachable."""

    def settled_as(self, file: FileFound) -> FileStatus | None: ...


@dataclass(frozen=True)
class FileProcessorWorker:
    """Processes files; for each it publishes one status: parsed, failed, postponed or lost.

    An announcement that was answered before is dropped: what the ledger says about its file stays.
    """

    settings: FetcherSettings
    download: Callable[[Sequence[Announced]], Iterable[tuple[Announced, Fetched]]]
    """Yields each file's content, or why there is none; see `EndpointDownload`."""
    zone: Callable[[FileFound], ZoneInfo]
    """Returns the element's time zone, for times that name none."""
    aliases: Callable[[FileFound], Mapping[str, str]]
    """Returns alias of the file's element -> its name in the inventory."""
    settled_files: SettledFiles
    publisher: FilePublisher
    parse: Callable[[bytes | Path, Origin], Parsed]
    """Parses a file; raises Incomplete and Hopeless."""
    memory: Callable[[int], AbstractContextManager[None]]
    """Blocks until there is memory for files of this size."""
    history: Callable[[Sequence[FileFound]], Mapping[str, FileHistory]] = lambda _: {}
    """Returns what the ledger says about files, by file id. Blocks; asked only where it may change the outcome."""
    ledger_keeps_s: Callable[[], float] = lambda: inf
    """Returns how long the ledger keeps a file at least."""

    def __call__(self, files: Sequence[Announced]) -> None:
        """Processes files of one endpoint: they are read one after the other, and parsed and published in parallel.

        Raises:
            Unreachable: a status could not be published; that file is not done.
        """
        began_s = monotonic()
        files = self._not_answered(files)
        if not files:
            return
        self.publisher.fetching([status_of(announced.file, "fetching", time()) for announced in files])
        size = sum(announced.file.size for announced in files)
        with self.memory(size), ThreadPoolExecutor(len(files), "process") as threads:
            processed = [
                threads.submit(self._process, announced, fetched, began_s)
                for announced, fetched in self.download(files)
            ]
        for future in processed:
            future.result()

    def _not_answered(self, files: Sequence[Announced]) -> list[Announced]:
        """Drops the announcements that were processed before; asks the ledger only if some may have been."""
        old = {a.file.file_id for a in files if is_older(a.file, a.record, self.ledger_keeps_s(), time())}
        again = [announced.file for announced in files if announced.again or announced.file.file_id in old]
        histories = self.history(again) if again else {}
        left = []
        for announced in files:
            history = histories.get(announced.file.file_id)
            answer = history and history.answer_to(announced.file, is_missing=False, now_s=time())
            if answer:
                self._drop(announced, answer)
            elif history is None and announced.file.file_id in old:
                _drop_too_old(announced)
            else:
                left.append(announced)
        return left

    def _drop(self, announced: Announced, answer: EarlierAnswer) -> None:
        """Leaves the status of the file as it is in the ledger; publishes it again only if a later one hides it."""
        if answer.is_hidden:
            self.publisher.status(answer.status)
        announced.done()
        metrics.DUPLICATES.labels(announced.file.system).inc()
        log.info(
            "duplicate announcement dropped",
            extra={
                "file": announced.file.file_id,
                "system": announced.file.system,
                "element": announced.file.element,
                "path": announced.file.path,
                "stage": answer.status.stage,
                "published_again": answer.is_hidden,
            },
        )

    def _process(self, announced: Announced, fetched: Fetched, began_s: float) -> None:
        """Parses a downloaded file and publishes it and its status."""
        metrics.DOWNLOAD_SECONDS.observe(monotonic() - began_s)
        if answer := self._earlier_answer(announced.file, fetched.content):
            self._drop(announced, answer.hidden(time()))
            return
        is_fetched = not isinstance(fetched.content, Exception)
        status = replace(
            self._status(announced.file, fetched.content),
            tries=fetched.tries,
            fetched_s=fetched.at_s if is_fetched else 0.0,
        )
        self.publisher.status(status)
        announced.done()
        took_s = monotonic() - began_s
        _count(status, took_s)
        _log_processed(status, took_s)

    def _earlier_answer(self, file: FileFound, content: FileContent | Hopeless | Unreachable) -> EarlierAnswer | None:
        """Returns what became of a file that could not be fetched, if it was processed before.

        A backfill is told that the file could not be fetched, as its operator asked for it on purpose.
        """
        if file.lies_at or not isinstance(content, Exception):
            return None
        history = self.history([file]).get(file.file_id)
        return history.answer_to(file, is_missing=isinstance(content, Gone), now_s=time()) if history else None

    def _status(self, file: FileFound, content: FileContent | Hopeless | Unreachable) -> FileStatus:
        try:
            with closing(self._parsed(file, content)) as parsed:
                return self._publish(file, parsed)
        except Gone:
            return self._status_of_missing(file)
        except Unreachable as error:
            return self._postponed(file, error)
        except Hopeless as error:
            return status_of(file, "failed", time(), str(error))

    def _postponed(self, file: FileFound, error: Unreachable) -> FileStatus:
        """Returns postponed, or failed after too many announcements.

        An incomplete file may still be being written, but then its size changes, and it is another file.
        """
        is_incomplete = isinstance(error, Incomplete)
        most = self.settings.incomplete_attempts if is_incomplete else self.settings.postponed_attempts
        if file.attempt < most:
            times = f" (announcement {file.attempt})" if file.attempt > 1 else ""
            return status_of(file, "postponed", time(), f"{error}{times}")
        unchanged = ", and its size and time did not change" if is_incomplete else ""
        return status_of(file, "failed", time(), f"{error}; it was announced {file.attempt} times{unchanged}")

    def _status_of_missing(self, file: FileFound) -> FileStatus:
        try:
            found = self.settled_files.settled_as(file)
        except Unreachable as error:
            return self._postponed(file, error)
        return found or status_of(file, "lost", time(), "the file vanished before it was fetched")

    def _parsed(self, file: FileFound, found: FileContent | Hopeless | Unreachable) -> Parsed:
        """Parses a file. An Incomplete one may still be being written: a later scan announces it with another size."""
        if isinstance(found, Exception):
            raise found
        with nullcontext() if isinstance(found, bytes) else found:
            zone = self.zone(file).key
            name = file.path.rpartition("/")[2]
            ver = version_of(file.file_id, file.mtime_s)
            origin = Origin(
                file.system, file.file_id, file.element, ver, zone, name, self.aliases(file),
                endpoint=file.endpoint, parsed_s=int(time()),
            )  # fmt: skip
            size = len(found) if isinstance(found, bytes) else Path(found.name).stat().st_size
            try:
                return self.parse(found if isinstance(found, bytes) else Path(found.name), origin)
            except (Hopeless, Unreachable) as error:
                if size == file.size:
                    raise
                if size < file.size:
                    raise Incomplete(f"the file shrank from {file.size} to {size} bytes; {error}") from error
                raise Unreachable(f"the file grew from {file.size} to {size} bytes; {error}") from error

    def _publish(self, file: FileFound, parsed: Parsed) -> FileStatus:
        counts, facts = parsed.counts, parsed.facts
        self.publisher.quarantine(file, parsed.quarantined)
        if counts.reasons and not parsed.batches:
            _count_values(file.system, counts)
            raise Hopeless(f"no value could be stored: {_remarks(parsed)}")
        _report_mistyped(file, counts.mistyped)
        sent = (batch.value for batch in parsed.batches)
        topic, partition, first_offset, last_offset = self.publisher.counters(file, sent)
        _count_values(file.system, counts)
        _count_rows(parsed)
        return replace(
            status_of(file, "parsed", time(), _remarks(parsed)),
            end_s=file.end_s if is_plausible(file.end_s) else max((b.end_s for b in parsed.batches), default=0),
            parsed_s=time(),
            topic=topic,
            partition=partition,
            first_offset=first_offset,
            last_offset=last_offset,
            batches=len(parsed.batches),
            rows=counts.rows,
            suspect=counts.suspect,
            values=counts.values,
            nulls=counts.nulls,
            quarantined=counts.quarantined,
            dropped=counts.dropped,
            job=bounded_text(",".join(facts.jobs)),
            sw_version=bounded_text(facts.sw_version),
            managed_element=bounded_text(facts.managed_element),
        )


def _drop_too_old(announced: Announced) -> None:
    """Drops an announcement of a file that is no longer in the ledger.

    The file was finished, and removed from the ledger since. If it was not, it is unknown to the scanner too, and
    announced again.
    """
    announced.done()
    file = announced.file
    metrics.DUPLICATES.labels(file.system).inc()
    extra = {"file": file.file_id, "system": file.system, "element": file.element, "path": file.path}
    log.warning("announcement too old", extra={**extra, "reason": "the ledger no longer has its file"})


def _count_rows(parsed: Parsed) -> None:
    for batch in parsed.batches:
        metrics.MESSAGE_ROWS.observe(batch.rows)


def _remarks(parsed: Parsed) -> str:
    return "; ".join([*parsed.notes, *(f"{reason}: {values}" for reason, values in parsed.counts.reasons.items())])


def _report_mistyped(file: FileFound, counters: Mapping[str, int]) -> None:
    """Counts and logs stored values whose type is not the declared one."""
    if not counters:
        return
    values = sum(counters.values())
    metrics.MISTYPED.labels(file.system).inc(values)
    most = sorted(counters, key=lambda name: -counters[name])[:5]
    extra = {"file": file.file_id, "system": file.system, "values": values, "counters": len(counters), "most": most}
    log.warning("values not of the declared type", extra=extra)


def _log_processed(status: FileStatus, took_s: float) -> None:
    levels = {"failed": logging.ERROR, "lost": logging.ERROR, "postponed": logging.WARNING}
    log.log(
        levels.get(status.stage, logging.INFO),
        "file processed",
        extra={
            "file": status.file_id,
            "system": status.system,
            "element": status.element,
            "path": status.path,
            "stage": status.stage,
            "reason": status.reason,
            "bytes": status.size,
            "values": status.values,
            "took_s": round(took_s, 3),
        },
    )


def _count(status: FileStatus, took_s: float) -> None:
    metrics.PROCESSED.labels(status.system, status.stage).inc()
    metrics.FILE_SECONDS.labels(status.system).observe(took_s)
    if status.stage == "lost":
        metrics.LOST.labels(status.system).inc()
    if status.stage == "parsed":
        metrics.FETCHED_BYTES.labels(status.system).inc(status.size)


def _count_values(system: str, counts: Counts) -> None:
    """Counts the values of a file by outcome and reason."""
    metrics.VALUES.labels(system, "value", "").inc(counts.values)
    metrics.VALUES.labels(system, "null", "").inc(counts.nulls)
    for reason, values in counts.reasons.items():
        outcome = "dropped" if reason in reasons.DROPPED else "quarantined"
        metrics.VALUES.labels(system, outcome, reason).inc(values)
