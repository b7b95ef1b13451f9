"""EndpointDownload announced files of one endpoint over one session; knows neither Kafka nor the parser."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from shutil import copyfileobj
from tempfile import NamedTemporaryFile
from time import sleep, time
from typing import IO, BinaryIO, Protocol, cast

from services.fetcher import metrics
from services.fetcher.intake.waiting_files import Announced
from services.fetcher.settings import LONGEST_WAIT_S, FetcherSettings
from shared.backoff import backoff_s
from shared.errors import Hopeless, Unreachable
from shared.messages import FileFound, path_bytes
from shared.remote.session import Denied, Gone, Longer

log = logging.getLogger(__name__)


class Element(Protocol):
    """The part of a session that the worker needs, see `session.Session`. Blocks; raises Gone and Unreachable."""

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]: ...
    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int: ...


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
class EndpointDownload:
    """Reads the files of one endpoint one after the other, and tries again what a broken connection left over."""

    settings: FetcherSettings
    session: Callable[[FileFound], AbstractContextManager[Element]]
    wait: Callable[[float], None] = sleep

    def __call__(self, files: Sequence[Announced]) -> Iterator[tuple[Announced, Fetched]]:
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
