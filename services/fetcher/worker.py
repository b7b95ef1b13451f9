"""FileProcessorWorker: announced files, from the element to the counters topic; knows neither Kafka nor SFTP."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import monotonic, sleep, time
from typing import IO, BinaryIO, Protocol, cast

from services.fetcher import metrics, reasons
from services.fetcher.assemble.result import Counts, Origin, Parsed, Quarantined
from services.fetcher.intake.waiting_files import Announced
from services.fetcher.settings import LONGEST_WAIT_S, FetcherSettings
from shared.backoff import backoff_s
from shared.errors import Hopeless, Unreachable
from shared.messages import FileFound, FileStatus, path_bytes, status_of, version_of
from shared.remote.session import Denied, Gone

log = logging.getLogger(__name__)


class Element(Protocol):
    """What the worker needs of a session, see `session.Session`. Blocks; raises Gone, Unreachable."""

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]: ...
    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int: ...


class Out(Protocol):
    """Where a file goes. Blocks until durable; raises Unreachable: nothing of it counts as done."""

    def counters(self, file: FileFound, batches: Iterable[bytes]) -> tuple[str, int, int]:
        """All batches of a file, each asked for when the one before is on its way; where the last of them is."""

    def quarantine(self, file: FileFound, blocks: Sequence[Quarantined]) -> None: ...

    def fetching(self, files: Sequence[FileStatus]) -> None:
        """Says so, and waits for nothing: what is said of a file later is durable only after this."""

    def status(self, status: FileStatus) -> None: ...


class Whereabouts(Protocol):
    """Where a file that is not where it was announced may be: raises Unreachable."""

    def settled_as(self, file: FileFound) -> FileStatus | None: ...


Content = bytes | IO[bytes]
"""A file that was downloaded: in memory, or on disk until it is closed."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """How the download of a file went."""

    content: Content | Hopeless | Unreachable
    tries: int
    at_s: float


@dataclass(frozen=True)
class FileProcessorWorker:
    """Each file ends with one status published: parsed, failed, postponed, lost, or what it is already."""

    settings: FetcherSettings
    session: Callable[[FileFound], AbstractContextManager[Element]]
    zone_offset_min: Callable[[FileFound], int]
    """Of the element when it wrote the file: for times that name no zone."""
    aliases: Callable[[FileFound], Mapping[str, str]]
    """Other names the file may call its element by -> its own."""
    whereabouts: Whereabouts
    out: Out
    parse: Callable[[bytes | Path, Origin], Parsed]
    """Raises Incomplete, Hopeless."""
    memory: Callable[[int], AbstractContextManager[None]]
    """Blocks until there is room for files of that size."""
    wait: Callable[[float], None] = sleep

    def __call__(self, files: Sequence[Announced]) -> None:
        """Files of one endpoint: read one after the other, the rest of the work on each goes on meanwhile.

        Raises:
            Unreachable: a status could not be published; that file is not done.
        """
        began_s = monotonic()
        self.out.fetching([status_of(a.file, "fetching", time()) for a in files])
        with self.memory(sum(a.file.size for a in files)), ThreadPoolExecutor(len(files), "process") as threads:
            ends = [threads.submit(self._end, a, fetched, began_s) for a, fetched in self._downloaded(files)]
        for end in ends:
            end.result()

    def _downloaded(self, files: Sequence[Announced]) -> Iterator[tuple[Announced, Fetched]]:
        """Each file's content, or why there is none; what a cut line left over is tried again."""
        left, attempt = list(files), 1
        while left:
            try:
                with self.session(left[0].file) as element:
                    for announced, found in self._read(element, left):
                        left.remove(announced)
                        yield announced, Fetched(found, attempt, time())
            except Unreachable as error:
                if attempt == self.settings.attempts:
                    yield from ((announced, Fetched(error, attempt, time())) for announced in left)
                    return
                wait_s = backoff_s(attempt, self.settings.first_wait_s, LONGEST_WAIT_S)
                ids = [announced.file.file_id for announced in left]
                metrics.FETCH_RETRIES.labels(left[0].file.system).inc(len(left))
                log.warning("fetch tried again", extra={"files": ids, "reason": str(error), "wait_s": wait_s})
                self.wait(wait_s)
                left.reverse()  # so that a file over which the line breaks each time holds up no other
                attempt += 1

    def _read(
        self, element: Element, files: Sequence[Announced]
    ) -> Iterator[tuple[Announced, Content | Hopeless | Unreachable]]:
        """Small ones pipelined; of a path that was announced twice, one is left for another time."""
        small = {path_bytes(a.file.place): a for a in files if a.file.size <= self.settings.spool_bytes}
        large = [announced for announced in files if announced.file.size > self.settings.spool_bytes]
        for path, found in element.read_all([(path, a.file.size) for path, a in small.items()]):
            file = small[path].file
            shrank = isinstance(found, bytes) and len(found) < file.size and _shrank(file, len(found))
            yield small[path], shrank or found
        for announced in large:
            yield announced, self._spooled(element, announced.file)

    def _spooled(self, element: Element, file: FileFound) -> Content | Hopeless | Unreachable:
        try:
            with ExitStack() as stack:
                spool = stack.enter_context(NamedTemporaryFile(dir=self.settings.spool_directory or None))
                size = element.read_to(path_bytes(file.place), file.size, cast("BinaryIO", spool))
                spool.flush()
                if size < file.size:
                    return _shrank(file, size)
                stack.pop_all()  # closed when it is parsed
                return spool
        except (Gone, Denied) as refused:
            return refused
        except OSError as error:
            raise Unreachable(f"not to be spooled to disk: {error}") from error

    def _end(self, announced: Announced, fetched: Fetched, began_s: float) -> None:
        file = announced.file
        metrics.DOWNLOAD_SECONDS.observe(monotonic() - began_s)
        try:
            with closing(self._parsed(file, fetched.content)) as parsed:
                status = self._publish(file, parsed)
        except Gone:
            status = self._look_for(file)
        except Unreachable as error:
            status = status_of(file, "postponed", time(), str(error))
        except Hopeless as error:
            status = status_of(file, "failed", time(), str(error))
        whole = not isinstance(fetched.content, Exception)
        status = replace(status, tries=fetched.tries, fetched_s=fetched.at_s if whole else 0.0)
        self.out.status(status)
        announced.done()
        took_s = monotonic() - began_s
        _count(status, took_s)
        log.log(
            {"failed": logging.ERROR, "lost": logging.ERROR, "postponed": logging.WARNING}.get(
                status.stage, logging.INFO
            ),
            "file processed",
            extra={
                "file": file.file_id,
                "system": file.system,
                "element": file.element,
                "path": file.path,
                "stage": status.stage,
                "reason": status.reason,
                "bytes": file.size,
                "values": status.values,
                "took_s": round(took_s, 3),
            },
        )

    def _look_for(self, file: FileFound) -> FileStatus:
        try:
            found = self.whereabouts.settled_as(file)
        except Unreachable as error:
            return status_of(file, "postponed", time(), str(error))
        return found or status_of(file, "lost", time(), "vanished before it was fetched")

    def _parsed(self, file: FileFound, found: Content | Hopeless | Unreachable) -> Parsed:
        """An Incomplete file may still be written: a later scan announces it with another size."""
        if isinstance(found, Exception):
            raise found
        with nullcontext() if isinstance(found, bytes) else found:
            zone_min = self.zone_offset_min(file)
            name = file.path.rpartition("/")[2]
            ver = version_of(file.file_id, file.mtime_s)
            origin = Origin(file.system, file.file_id, file.element, ver, zone_min, name, self.aliases(file))
            return self.parse(found if isinstance(found, bytes) else Path(found.name), origin)

    def _publish(self, file: FileFound, parsed: Parsed) -> FileStatus:
        counts = parsed.counts
        self.out.quarantine(file, parsed.quarantined)
        if not parsed.batches:
            _count_values(file.system, counts)
            why = ", ".join(f"{reason}: {values}" for reason, values in counts.reasons.items())
            raise Hopeless(f"no value could be stored: {why}")
        if counts.mistyped:
            _tell_of_mistyped(file, counts.mistyped)
        for batch in parsed.batches:
            metrics.MESSAGE_ROWS.observe(batch.rows)
        topic, partition, last_offset = self.out.counters(file, (batch.value for batch in parsed.batches))
        _count_values(file.system, counts)
        said = [*parsed.notes, *(f"{reason}: {n}" for reason, n in counts.reasons.items())]
        return replace(
            status_of(file, "parsed", time(), "; ".join(said)),
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
        )


def _tell_of_mistyped(file: FileFound, counters: Mapping[str, int]) -> None:
    """They are stored as the file has them."""
    values = sum(counters.values())
    metrics.MISTYPED.labels(file.system).inc(values)
    some = sorted(counters, key=lambda name: -counters[name])[:5]
    extra = {"file": file.file_id, "system": file.system, "values": values, "counters": len(counters), "some": some}
    log.warning("values are not what the dictionary declared", extra=extra)


def _shrank(file: FileFound, size: int) -> Unreachable:
    return Unreachable(f"{size} bytes of {file.size}: the file shrank")


def _count(status: FileStatus, took_s: float) -> None:
    metrics.PROCESSED.labels(status.system, status.stage).inc()
    metrics.FILE_SECONDS.labels(status.system).observe(took_s)
    if status.stage == "lost":
        metrics.LOST.labels(status.system).inc()
    if status.stage == "parsed":
        metrics.FETCHED_BYTES.labels(status.system).inc(status.size)


def _count_values(system: str, counts: Counts) -> None:
    """What became of a file's values; each stands under one outcome and reason."""
    metrics.VALUES.labels(system, "value", "").inc(counts.values)
    metrics.VALUES.labels(system, "null", "").inc(counts.nulls)
    for reason, values in counts.reasons.items():
        outcome = "dropped" if reason in reasons.DROPPED else "quarantined"
        metrics.VALUES.labels(system, outcome, reason).inc(values)
