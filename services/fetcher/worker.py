"""FileProcessorWorker takes announced files from the element to the counters topic; knows neither Kafka nor SFTP."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from shutil import copyfileobj
from tempfile import NamedTemporaryFile
from time import monotonic, sleep, time
from typing import IO, BinaryIO, Protocol, cast

from services.fetcher import metrics, reasons
from services.fetcher.assemble.result import Counts, Origin, Parsed, Quarantined
from services.fetcher.intake.waiting_files import Announced
from services.fetcher.settings import LONGEST_WAIT_S, FetcherSettings
from shared.backoff import backoff_s
from shared.errors import Hopeless, Unreachable
from shared.messages import FileFound, FileStatus, path_bytes, status_of
from shared.remote.session import Denied, Gone, Longer
from shared.versions import version_of

log = logging.getLogger(__name__)


class Element(Protocol):
    """The part of a session that the worker needs, see `session.Session`. Blocks; raises Gone and Unreachable."""

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]: ...
    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int: ...


class FilePublisher(Protocol):
    """Publishes files. Blocks until durable; raises Unreachable, and then nothing of the file counts as done."""

    def counters(self, file: FileFound, batches: Iterable[bytes]) -> tuple[str, int, int]:
        """Sends all batches of a file, each requested when the one before is on its way.

        Returns the topic, the partition and the offset of the last batch.
        """

    def quarantine(self, file: FileFound, blocks: Sequence[Quarantined]) -> None: ...

    def fetching(self, files: Sequence[FileStatus]) -> None:
        """Publishes the status `fetching` without waiting; later statuses of a file are durable only after this one."""

    def status(self, status: FileStatus) -> None: ...


class SettledFiles(Protocol):
    """Finds files that were already moved away; raises Unreachable."""

    def settled_as(self, file: FileFound) -> FileStatus | None: ...


FileContent = bytes | IO[bytes]
"""A downloaded file: in memory, or on disk until it is closed."""


class ContentDigest:
    """A file that keeps nothing but a digest of what is written to it."""

    def __init__(self) -> None:
        self.found = blake2b()

    def write(self, content: bytes) -> int:
        self.found.update(content)
        return len(content)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result of downloading a file."""

    content: FileContent | Hopeless | Unreachable
    tries: int
    at_s: float


@dataclass(frozen=True)
class FileProcessorWorker:
    """Processes files; for each it publishes one status: parsed, failed, postponed, lost, or the one it has already."""

    settings: FetcherSettings
    session: Callable[[FileFound], AbstractContextManager[Element]]
    zone_offset_min: Callable[[FileFound], int]
    """Returns the element's offset from UTC when it wrote the file, for times that name no zone."""
    aliases: Callable[[FileFound], Mapping[str, str]]
    """Returns alias of the file's element -> its name in the inventory."""
    settled_files: SettledFiles
    publisher: FilePublisher
    parse: Callable[[bytes | Path, Origin], Parsed]
    """Parses a file; raises Incomplete and Hopeless."""
    memory: Callable[[int], AbstractContextManager[None]]
    """Blocks until there is memory for files of this size."""
    wait: Callable[[float], None] = sleep

    def __call__(self, files: Sequence[Announced]) -> None:
        """Processes files of one endpoint: they are read one after the other, and parsed and published in parallel.

        Raises:
            Unreachable: a status could not be published; that file is not done.
        """
        began_s = monotonic()
        self.publisher.fetching([status_of(announced.file, "fetching", time()) for announced in files])
        size = sum(announced.file.size for announced in files)
        with self.memory(size), ThreadPoolExecutor(len(files), "process") as threads:
            processed = [
                threads.submit(self._process, announced, fetched, began_s)
                for announced, fetched in self._downloaded(files)
            ]
        for future in processed:
            future.result()

    def _downloaded(self, files: Sequence[Announced]) -> Iterator[tuple[Announced, Fetched]]:
        """Yields each file's content, or why there is none; files left over by a broken connection are tried again."""
        left, attempt = list(files), 1
        while left:
            try:
                with self.session(left[0].file) as element:
                    for announced, found in self._read(element, left):
                        left.remove(announced)
                        yield announced, Fetched(found, attempt, time())
            except Exception as error:  # noqa: BLE001 - logged by _defect
                reason = error if isinstance(error, Unreachable) else _defect(error, left)
                if attempt == self.settings.attempts:
                    yield from ((announced, Fetched(reason, attempt, time())) for announced in left)
                    return
                wait_s = backoff_s(attempt, self.settings.first_wait_s, LONGEST_WAIT_S)
                ids = [announced.file.file_id for announced in left]
                metrics.FETCH_RETRIES.labels(left[0].file.system).inc(len(left))
                log.warning("fetch will be retried", extra={"files": ids, "reason": str(reason), "wait_s": wait_s})
                self.wait(wait_s)
                left.reverse()  # so that a file that breaks the connection each time holds up no other
                attempt += 1

    def _read(
        self, element: Element, files: Sequence[Announced]
    ) -> Iterator[tuple[Announced, FileContent | Hopeless | Unreachable]]:
        """Reads small files in a pipeline, then large ones; of a path that was announced twice, one is left over."""
        max_bytes = self.settings.spool_bytes
        small = {path_bytes(announced.file.place): announced for announced in files if announced.file.size <= max_bytes}
        large = [announced for announced in files if announced.file.size > max_bytes]
        resized: dict[bytes, bytes] = {}
        for path, found in element.read_all([(path, announced.file.size) for path, announced in small.items()]):
            if isinstance(found, bytes) and len(found) != small[path].file.size:
                resized[path] = found
            elif isinstance(found, Longer):
                large.append(small[path])
            else:
                yield small[path], found
        for path, again in element.read_all([(path, len(first)) for path, first in resized.items()]):
            changed = isinstance(again, bytes) and again != resized[path]
            yield small[path], _changed(small[path].file) if changed else again
        for announced in large:
            yield announced, self._spooled(element, announced.file)

    def _spooled(self, element: Element, file: FileFound) -> FileContent | Hopeless | Unreachable:
        """Copies a file to disk. If its size is not the listed one, a second read must find the same content."""
        try:
            with ExitStack() as stack:
                spool = stack.enter_context(NamedTemporaryFile(dir=self.settings.spool_directory or None))
                size = element.read_to(path_bytes(file.place), file.size, cast("BinaryIO", spool))
                spool.flush()
                if size != file.size:
                    spool.seek(0)
                    first, second = ContentDigest(), ContentDigest()
                    copyfileobj(spool, first)
                    element.read_to(path_bytes(file.place), size, cast("BinaryIO", second))
                    if first.found.digest() != second.found.digest():
                        return _changed(file)
                stack.pop_all()  # it is closed after parsing
                return spool
        except (Gone, Denied) as refused:
            return refused
        except OSError as error:
            raise Unreachable(f"cannot spool to disk: {error}") from error

    def _process(self, announced: Announced, fetched: Fetched, began_s: float) -> None:
        """Parses a downloaded file and publishes it and its status."""
        metrics.DOWNLOAD_SECONDS.observe(monotonic() - began_s)
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

    def _status(self, file: FileFound, content: FileContent | Hopeless | Unreachable) -> FileStatus:
        try:
            with closing(self._parsed(file, content)) as parsed:
                return self._publish(file, parsed)
        except Gone:
            return self._status_of_missing(file)
        except Unreachable as error:
            return status_of(file, "postponed", time(), str(error))
        except Hopeless as error:
            return status_of(file, "failed", time(), str(error))

    def _status_of_missing(self, file: FileFound) -> FileStatus:
        try:
            found = self.settled_files.settled_as(file)
        except Unreachable as error:
            return status_of(file, "postponed", time(), str(error))
        return found or status_of(file, "lost", time(), "the file vanished before it was fetched")

    def _parsed(self, file: FileFound, found: FileContent | Hopeless | Unreachable) -> Parsed:
        """Parses a file. An Incomplete one may still be being written: a later scan announces it with another size."""
        if isinstance(found, Exception):
            raise found
        with nullcontext() if isinstance(found, bytes) else found:
            zone_min = self.zone_offset_min(file)
            name = file.path.rpartition("/")[2]
            ver = version_of(file.file_id, file.mtime_s)
            origin = Origin(
                file.system, file.file_id, file.element, ver, zone_min, name, self.aliases(file),
                endpoint=file.endpoint, parsed_s=int(time()),
            )  # fmt: skip
            size = len(found) if isinstance(found, bytes) else Path(found.name).stat().st_size
            try:
                return self.parse(found if isinstance(found, bytes) else Path(found.name), origin)
            except (Hopeless, Unreachable) as error:
                if size == file.size:
                    raise
                how = "shrank" if size < file.size else "grew"
                raise Unreachable(f"the file {how} from {file.size} to {size} bytes; {error}") from error

    def _publish(self, file: FileFound, parsed: Parsed) -> FileStatus:
        counts = parsed.counts
        self.publisher.quarantine(file, parsed.quarantined)
        if not parsed.batches:
            _count_values(file.system, counts)
            why = ", ".join(f"{reason}: {values}" for reason, values in counts.reasons.items())
            raise Hopeless(f"no value could be stored: {why}")
        if counts.mistyped:
            _report_mistyped(file, counts.mistyped)
        for batch in parsed.batches:
            metrics.MESSAGE_ROWS.observe(batch.rows)
        topic, partition, last_offset = self.publisher.counters(file, (batch.value for batch in parsed.batches))
        _count_values(file.system, counts)
        return replace(
            status_of(file, "parsed", time(), _remarks(parsed)),
            end_s=file.end_s or max(batch.end_s for batch in parsed.batches),
            parsed_s=time(),
            topic=topic,
            partition=partition,
            last_offset=last_offset,
            batches=len(parsed.batches),
            rows=counts.rows,
            suspect=counts.suspect,
            values=counts.values,
            nulls=counts.nulls,
            quarantined=counts.quarantined,
            dropped=counts.dropped,
            job=",".join(parsed.facts.jobs),
            sw_version=parsed.facts.sw_version,
            managed_element=parsed.facts.managed_element,
        )


def _remarks(parsed: Parsed) -> str:
    return "; ".join([*parsed.notes, *(f"{reason}: {values}" for reason, values in parsed.counts.reasons.items())])


def _report_mistyped(file: FileFound, counters: Mapping[str, int]) -> None:
    """Counts and logs stored values whose type is not the declared one."""
    values = sum(counters.values())
    metrics.MISTYPED.labels(file.system).inc(values)
    most = sorted(counters, key=lambda name: -counters[name])[:5]
    extra = {"file": file.file_id, "system": file.system, "values": values, "counters": len(counters), "most": most}
    log.warning("values not of the declared type", extra=extra)


def _changed(file: FileFound) -> Unreachable:
    return Unreachable(f"the file has not the listed size of {file.size} bytes, and two reads found different content")


def _defect(error: Exception, files: Sequence[Announced]) -> Unreachable:
    """Logs an unexpected failure of a download: it costs the files of this element only, which are tried again."""
    file = files[0].file
    reason = f"defect: {type(error).__name__}: {error}"
    extra = {"system": file.system, "element": file.element, "path": file.path, "reason": reason}
    log.error("fetch failed because of a defect", extra=extra, exc_info=error)
    metrics.FETCH_DEFECTS.labels(file.system).inc()
    return Unreachable(reason)


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
