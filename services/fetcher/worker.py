"""FileProcessorWorker takes announced files from the element to the counters topic; knows neither Kafka nor SFTP."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic, time
from typing import Protocol
from zoneinfo import ZoneInfo

from services.fetcher import metrics
from services.fetcher.assemble.result import Origin, Parsed, Quarantined
from services.fetcher.download import Fetched, FileContent
from services.fetcher.history import EarlierAnswer, FileHistory, is_older
from services.fetcher.intake.waiting_files import Announced
from services.fetcher.parse.unpack import Incomplete
from services.fetcher.parse.values.period import is_plausible
from services.fetcher.publish import PublishedBatches
from services.fetcher.reports import count_rows, count_values, report_mistyped, report_processed
from services.fetcher.settings import FetcherSettings
from shared.errors import Hopeless, Unreachable
from shared.messages import FileFound, FileStatus, bounded_text, status_of
from shared.remote.session import Gone
from shared.versions import version_of

log = logging.getLogger(__name__)


class FilePublisher(Protocol):
    """Publishes files. Nothing waits until it is durable: what follows is called then, by a thread of the publisher."""

    def content(
        self,
        file: FileFound,
        blocks: Sequence[Quarantined],
        batches: Iterable[bytes],
        then: Callable[[PublishedBatches | Hopeless | Unreachable], None],
    ) -> None:
        """Sends all quarantined blocks and batches of a file, each requested when the one before is on its way.

        Calls `then` when all are durable, or with the reason why one is not: then nothing of the file counts as done.
        """

    def fetching(self, files: Sequence[FileStatus]) -> None:
        """Publishes the status `fetching`; later statuses of a file are durable only after this one."""

    def answer(self, status: FileStatus, then: Callable[[], None]) -> None:
        """Publishes a status, again until Kafka takes it, and calls `then` when it is durable."""


class SettledFiles(Protocol):
    """Finds files that were already moved away; raises Unreachable."""

    def settled_as(self, file: FileFound) -> FileStatus | None: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """The attempt to fetch a file. It is kept until the outcome is durable, so it does not hold the content."""

    announced: Announced
    tries: int
    fetched_s: float
    """Time at which the file was downloaded completely; 0: it was not."""
    began_s: float
    """Start of the download, by the monotonic clock."""

    @property
    def file(self) -> FileFound:
        return self.announced.file


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
    memory: Callable[[str, int], AbstractContextManager[None]]
    """Blocks until there is memory for files of a system of this size."""
    submit: Callable[[str, Callable[[], None]], Future[None]]
    """Has work of a system done by another thread; see `FairThreads`."""
    history: Callable[[Sequence[FileFound]], Mapping[str, FileHistory]] = lambda _: {}
    """Returns what the ledger says about files, by file id. Blocks; asked only where it may change the outcome."""
    ledger_keeps_s: Callable[[], float] = lambda: inf
    """Returns how long the ledger keeps a file at least."""

    def __call__(self, files: Sequence[Announced]) -> None:
        """Processes files of one endpoint: they are read one after the other, and parsed and sent in parallel.

        Returns when all are sent, which is before they are durable.
        """
        began_s = monotonic()
        files = self._not_answered(files)
        if not files:
            return
        self.publisher.fetching([status_of(announced.file, "fetching", time()) for announced in files])
        size = sum(announced.file.size for announced in files)
        with self.memory(files[0].file.system, size):
            missing: list[tuple[Attempt, Hopeless | Unreachable]] = []
            submitted: list[Future[None]] = []
            for announced, fetched in self.download(files):
                metrics.DOWNLOAD_SECONDS.observe(monotonic() - began_s)
                content = fetched.content
                if isinstance(content, Exception):
                    missing.append((Attempt(announced, fetched.tries, 0.0, began_s), content))
                else:
                    attempt = Attempt(announced, fetched.tries, fetched.at_s, began_s)
                    submitted.append(self.submit(announced.file.system, partial(self._process, attempt, content)))
            errors = [error for future in submitted if (error := future.exception())]
        for attempt, reason in missing:  # may need a session, so the one of the download is given back by now
            self._process_missing(attempt, reason)
        if errors:
            raise errors[0]

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
        announced.is_sent = True
        if answer.is_hidden:
            self.publisher.answer(answer.status, announced.done)
        else:
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

    def _process(self, attempt: Attempt, content: FileContent) -> None:
        """Parses a downloaded file and sends it. Its status follows when all of it is durable."""
        try:
            with closing(self._parsed(attempt.file, content)) as parsed:
                self._send(attempt, parsed)
        except (Hopeless, Unreachable) as error:
            self._answer(attempt, self._status_without(attempt.file, error))

    def _process_missing(self, attempt: Attempt, reason: Hopeless | Unreachable) -> None:
        """Publishes why a file could not be fetched, unless it was processed before."""
        if answer := self._earlier_answer(attempt.file, reason):
            self._drop(attempt.announced, answer.hidden(time()))
        else:
            self._answer(attempt, self._status_without(attempt.file, reason))

    def _answer(self, attempt: Attempt, status: FileStatus) -> None:
        """Publishes the status of a file; the file is done when that is durable."""
        announced = attempt.announced
        status = replace(status, tries=attempt.tries, fetched_s=attempt.fetched_s)

        def end() -> None:
            announced.done()
            report_processed(status, monotonic() - attempt.began_s)

        self.publisher.answer(status, partial(_contained, announced, end))
        announced.is_sent = True

    def _earlier_answer(self, file: FileFound, reason: Hopeless | Unreachable) -> EarlierAnswer | None:
        """Returns what became of a file that could not be fetched, if it was processed before.

        A backfill is told that the file could not be fetched, as its operator asked for it on purpose.
        """
        if file.lies_at:
            return None
        history = self.history([file]).get(file.file_id)
        return history.answer_to(file, is_missing=isinstance(reason, Gone), now_s=time()) if history else None

    def _status_without(self, file: FileFound, error: Hopeless | Unreachable) -> FileStatus:
        """Returns the status of a file whose values could not be published."""
        if isinstance(error, Gone):
            return self._status_of_missing(file)
        if isinstance(error, Unreachable):
            return self._postponed(file, error)
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

    def _parsed(self, file: FileFound, found: FileContent) -> Parsed:
        """Parses a file. An Incomplete one may still be being written: a later scan announces it with another size."""
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

    def _send(self, attempt: Attempt, parsed: Parsed) -> None:
        """Sends the quarantined blocks and the batches of a file; its status follows when all are durable."""
        file, counts, announced = attempt.file, parsed.counts, attempt.announced
        if parsed.batches:
            report_mistyped(file, counts.mistyped)
            count_rows(parsed)
        without_value = f"no value could be stored: {_remarks(parsed)}" if counts.reasons and not parsed.batches else ""
        status = _status_of_parsed(file, parsed)

        def answer(outcome: PublishedBatches | Hopeless | Unreachable) -> None:
            if isinstance(outcome, PublishedBatches):
                count_values(file.system, counts)
                now_s = time()
                durable = replace(status, at_s=now_s, parsed_s=now_s, **asdict(outcome))
                failed = without_value and status_of(file, "failed", now_s, without_value)
                self._answer(attempt, failed or durable)
            else:
                self._answer(attempt, self._status_without(file, outcome))

        def then(outcome: PublishedBatches | Hopeless | Unreachable) -> None:
            _contained(announced, partial(answer, outcome))

        self.publisher.content(file, parsed.quarantined, (batch.value for batch in parsed.batches), then)
        announced.is_sent = True


def _contained(announced: Announced, step: Callable[[], None]) -> None:
    """Does what follows a delivery; an error that nobody planned for costs this file only."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 - the announcement is set aside with it
        announced.on_defect(error)


def _status_of_parsed(file: FileFound, parsed: Parsed) -> FileStatus:
    """Returns the status of a parsed file, without its place in the topic."""
    counts, facts = parsed.counts, parsed.facts
    return replace(
        status_of(file, "parsed", time(), _remarks(parsed)),
        end_s=file.end_s if is_plausible(file.end_s) else max((b.end_s for b in parsed.batches), default=0),
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


def _remarks(parsed: Parsed) -> str:
    return "; ".join([*parsed.notes, *(f"{reason}: {values}" for reason, values in parsed.counts.reasons.items())])
