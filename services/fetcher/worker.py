"""FileProcessorWorker: one announced file, from the element to the counters topic; knows neither Kafka nor SFTP."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from random import uniform
from time import monotonic, sleep, time
from typing import Protocol

from services.fetcher.batches import Origin, Parsed, Quarantined
from services.fetcher.parse.unpack import Incomplete
from services.fetcher.settings import FetcherSettings
from shared.errors import Hopeless, Unreachable
from shared.messages import FileFound, FileStatus, path_bytes, status_of, version_of
from shared.remote.session import Gone

log = logging.getLogger(__name__)


class Element(Protocol):
    """What the worker needs of a session. Blocks; raises Gone, Unreachable."""

    def read(self, path: bytes, size: int) -> bytes: ...


class Out(Protocol):
    """Where a file goes. Blocks until durable; raises Unreachable: nothing of it counts as done."""

    def counters(self, file: FileFound, batches: Sequence[bytes]) -> tuple[str, int, int]:
        """All batches of a file; topic, partition and offset of the last."""

    def quarantine(self, file: FileFound, blocks: Sequence[Quarantined]) -> None: ...

    def status(self, status: FileStatus) -> None: ...


class Whereabouts(Protocol):
    """Where a file that is not where it was announced may be: raises Unreachable."""

    def settled_as(self, file: FileFound) -> FileStatus | None: ...


@dataclass(frozen=True)
class FileProcessorWorker:
    """Each call ends with one status of the file published: parsed, failed, postponed, lost, or what it is already."""

    settings: FetcherSettings
    session: Callable[[FileFound], AbstractContextManager[Element]]
    zone_offset_min: Callable[[FileFound], int]
    """Of the element when it wrote the file: for times that name no zone."""
    whereabouts: Whereabouts
    out: Out
    parse: Callable[[bytes, Origin], Parsed]
    """Raises Incomplete, Hopeless."""
    memory: Callable[[int], AbstractContextManager[None]]
    """Blocks until there is room for a file of that size."""
    wait: Callable[[float], None] = sleep

    def __call__(self, file: FileFound) -> None:
        began_s = monotonic()
        try:
            with self.memory(file.size):
                status = self._publish(file, self._parsed(file))
        except Gone:
            status = self._look_for(file)
        except (Unreachable, Incomplete) as error:
            status = status_of(file, "postponed", time(), str(error))
        except Hopeless as error:
            status = status_of(file, "failed", time(), str(error))
        self.out.status(status)
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
                "took_s": round(monotonic() - began_s, 3),
            },
        )

    def _look_for(self, file: FileFound) -> FileStatus:
        try:
            found = self.whereabouts.settled_as(file)
        except Unreachable as error:
            return status_of(file, "postponed", time(), str(error))
        return found or status_of(file, "lost", time(), "vanished before it was fetched")

    def _parsed(self, file: FileFound) -> Parsed:
        zone_min = self.zone_offset_min(file)
        name = file.path.rpartition("/")[2]
        origin = Origin(file.system, file.file_id, file.element, version_of(file.file_id, file.mtime_s), zone_min, name)
        for attempt in range(1, self.settings.attempts + 1):
            try:
                return self.parse(self._download(file), origin)
            except (Unreachable, Incomplete) as error:
                if attempt == self.settings.attempts:
                    raise
                wait_s = self.settings.first_wait_s * 2 ** (attempt - 1) * uniform(0.5, 1.5)
                log.warning("fetch tried again", extra={"file": file.file_id, "reason": str(error), "wait_s": wait_s})
                self.wait(wait_s)
        raise AssertionError("attempts is at least 1")

    def _download(self, file: FileFound) -> bytes:
        with self.session(file) as element:
            data = element.read(path_bytes(file.path), file.size)
        if len(data) < file.size:
            raise Unreachable(f"{len(data)} bytes of {file.size}: the file shrank")
        return data

    def _publish(self, file: FileFound, parsed: Parsed) -> FileStatus:
        counts = parsed.counts
        self.out.quarantine(file, parsed.quarantined)
        if not parsed.batches:
            raise Hopeless(f"no value could be stored: {counts.quarantined} quarantined, {counts.dropped} dropped")
        topic, partition, last_offset = self.out.counters(file, [batch.value for batch in parsed.batches])
        return replace(
            status_of(file, "parsed", time(), "; ".join(f"{reason}: {n}" for reason, n in counts.reasons.items())),
            parsed_s=time(),
            topic=topic,
            partition=partition,
            last_offset=last_offset,
            rows=counts.rows,
            values=counts.values,
            nulls=counts.nulls,
            quarantined=counts.quarantined,
            dropped=counts.dropped,
        )
