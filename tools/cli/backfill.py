"""`pmflow backfill`: files of a time range that lie in done/, through the whole pipeline once more; they stay there."""

import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import monotonic, time
from typing import Annotated

import typer
from rich.progress import Progress

from services.fetcher.settle.destination import destination
from services.scanner.lister import cycle_of, found
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint, endpoints
from shared.kafka.consume import Consumer, follow_all
from shared.kafka.produce import Producer, about_element
from shared.messages import File, FileFound, FileStatus, decode_status, path_bytes, path_text, status_of
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Denied, Entry, Gone, Session, child
from shared.settings import BadSettings, Settings, System, load
from shared.topics import FILES_FOUND, FILES_STATUS
from tools.cli import ledger

MARK = re.compile(rb"\.[0-9a-f]{16}\Z")
"""Of a file whose name was taken in done/."""
UNDER_WAY = frozenset({"found", "fetching", "parsed"})
FORGOTTEN_AFTER_S = 3600.0
"""Of silence about a file that was under way."""
TRIES = 5
AGAIN_AFTER_S = 30.0
Range = tuple[int, int]
"""From and to, seconds since 1970 UTC, by the end of the period (or the time of writing where a name does not tell)."""


def folders(endpoint: Endpoint, system: System, times: Range) -> Mapping[bytes, int]:
    """Where settled files of these times may lie, and so many levels below."""
    first, last = (datetime.fromtimestamp(at_s, endpoint.zone) for at_s in times)
    days = [first + timedelta(days=n) for n in range(-1, (last - first).days + 2)]
    if system.on_done == "move" and system.done_directory.startswith("/"):
        return {day.strftime(system.done_directory).rstrip("/").encode(): 0 for day in days}
    bases = {base: 0 for day in days for base in endpoint.directories(day.timestamp())}
    if system.on_done == "leave":
        return dict.fromkeys(bases, system.depth)
    if system.depth:
        return dict.fromkeys(bases, system.depth + system.done_directory.strip("/").count("/") + 1)
    below = {day.strftime(system.done_directory).strip("/").encode() for day in days}
    return {child(base, done): 0 for base in bases for done in below}


def settled(
    listed: Iterable[tuple[bytes, Entry]],
    endpoint: Endpoint,
    system: System,
    times: Range,
    known: Iterable[File] = (),
) -> Iterator[FileFound]:
    """Of what was listed the files that were collected, each as it was announced first: so it keeps its identity.

    A file is one that would be moved to where it lies. Where done/ is one place for files of several directories, those
    that are `known` tell which one; one that nobody knows any more may get another identity, which changes no value.
    """
    parents: dict[tuple[int, int], set[bytes]] = {}
    for file in known:
        if file.endpoint == endpoint.name:
            parents.setdefault((file.size, file.mtime_s), set()).add(path_bytes(file.path).rpartition(b"/")[0])
    for directory, entry in listed:
        of_known = sorted(parents.get((entry.size, entry.mtime_s), ()))
        files = _origins(directory, entry, [*of_known, *_parents(directory, entry, endpoint, system)], endpoint, system)
        if first := next((file for file in files if times[0] <= cycle_of(file) < times[1]), None):
            yield replace(first, lies_at=path_text(child(directory, entry.name)))


def _origins(
    directory: bytes, entry: Entry, parents: Iterable[bytes], endpoint: Endpoint, system: System
) -> Iterator[FileFound]:
    if system.on_done == "leave":
        yield found(system.name, endpoint, child(directory, entry.name), entry, epoch=0)
        return
    names = {MARK.sub(b"", entry.name): True, entry.name: False} if MARK.search(entry.name) else {entry.name: False}
    for parent in parents:
        for name, again in names.items():
            file = found(system.name, endpoint, child(parent, name), replace(entry, name=name), epoch=0)
            if destination(file, "done", system, endpoint.zone, again=again) == child(directory, entry.name):
                yield file


def _parents(directory: bytes, entry: Entry, endpoint: Endpoint, system: System) -> Sequence[bytes]:
    """The directories a file may have been found in."""
    if system.done_directory.startswith("/"):
        return [base for days in (0, 1) for base in endpoint.directories(entry.mtime_s + days * 86_400)]
    return [directory.rsplit(b"/", system.done_directory.strip("/").count("/") + 1)[0]]


def look(
    settings: Settings, system: System, times: Range, known: Collection[File]
) -> tuple[list[FileFound], list[str]]:
    """The files on all elements, and the elements that do not answer."""
    manager = FtpServiceManager(settings.elements)

    def on(endpoint: Endpoint) -> list[FileFound] | str:
        try:
            with manager.session(endpoint) as session:
                return list(settled(_listing(session, endpoint, system, times), endpoint, system, times, known))
        except (Unreachable, Hopeless) as error:
            return f"{endpoint.name}: {error}"

    with ThreadPoolExecutor(8) as pool:
        looks = list(pool.map(on, endpoints(system).values()))
    manager.close()
    files = [file for some in looks if isinstance(some, list) for file in some]
    return sorted(files, key=cycle_of), [trouble for trouble in looks if isinstance(trouble, str)]


def _listing(session: Session, endpoint: Endpoint, system: System, times: Range) -> Iterator[tuple[bytes, Entry]]:
    for directory, depth in folders(endpoint, system, times).items():
        try:
            for where, entry in session.tree(directory, depth):
                if isinstance(entry, Entry):
                    yield where, entry
                elif isinstance(entry, Denied):
                    raise entry
        except Gone:
            continue  # no file of that day


@dataclass
class Backfill:
    """Announces files, so many at once, and follows them to their ends."""

    reader: Consumer
    """Of the ledger, from where it ended before the first is announced."""
    producer: Producer
    at_once: int
    waiting: deque[tuple[float, FileFound]] = field(default_factory=deque)
    """With the time before which it is not announced."""
    in_flight: dict[str, FileFound] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)

    def run(self, files: Sequence[FileFound], told: Callable[[int], object]) -> Counter[str]:
        """How many ended as what; `told` is given how many did so far."""
        self.waiting += ((0.0, file) for file in files)
        while self.waiting or self.in_flight:
            self._announce()
            for record in self.reader.poll(1000, 0.5):
                status = decode_status(record.value) if record.value else None
                if isinstance(status, FileStatus) and status.file_id in self.in_flight:
                    self._take(status)
            told(self.ends.total())
        return self.ends

    def _announce(self) -> None:
        """The ledger first, as the scanner does."""
        files = []
        for _ in range(min(len(self.waiting), self.at_once - len(self.in_flight))):
            if self.waiting[0][0] > monotonic():
                break
            files.append(self.waiting.popleft()[1])
        statuses = [status_of(file, "found", time()) for file in files]
        self.producer.deliver(*(about_element(FILES_STATUS, s.element, s.file_id, s.encode()) for s in statuses))
        self.producer.deliver(*(about_element(FILES_FOUND, f.element, f.element, f.encode()) for f in files))
        self.in_flight |= {file.file_id: file for file in files}

    def _take(self, status: FileStatus) -> None:
        if status.stage in {"done", "error", "lost"}:
            del self.in_flight[status.file_id]
            self.ends[status.stage] += 1
        elif status.stage == "postponed":
            file = self.in_flight.pop(status.file_id)
            if file.attempt < TRIES:
                self.waiting.append((monotonic() + AGAIN_AFTER_S, replace(file, attempt=file.attempt + 1)))
            else:
                self.ends["unreachable"] += 1


def backfill(
    settings: Settings, system: System, times: Range, at_once: int, told: Callable[[int, int], object]
) -> tuple[Counter[str], list[str]]:
    """How many files ended as what, and the elements that did not answer. `told`: how many have ended, of how many."""
    brokers = settings.kafka.bootstrap_servers
    reader = follow_all(brokers, FILES_STATUS)
    known = ledger.of(ledger.until_now(reader, brokers, FILES_STATUS)).files
    files, troubles = look(settings, system, times, known.values())
    through = [one for file in files if (one := again(file, known.get(file.file_id), time()))]
    producer = Producer(brokers)
    ends = Backfill(reader, producer, at_once).run(through, lambda ended: told(ended, len(through)))
    producer.close()
    reader.close()
    return ends, troubles


def again(file: FileFound, known: FileStatus | None, now_s: float) -> FileFound | None:
    """None while it is under way: on its way to where it lies, or by another backfill."""
    if known is None:
        return file
    under_way = known.stage in UNDER_WAY and now_s - known.at_s < FORGOTTEN_AFTER_S
    return None if under_way else replace(file, found_s=known.found_s)


def command(
    system: Annotated[str, typer.Option(help="whose files")],
    since: Annotated[datetime, typer.Option("--from", help="periods that end not before, UTC")],
    until: Annotated[datetime, typer.Option("--to", help="periods that end before, UTC")],
    at_once: Annotated[
        int, typer.Option(min=1, help="files under way; they count to the system's in-flight-limit")
    ] = 500,
) -> None:
    """Land the files in done/ of a time range once more, where they lie; exit 1 unless all are done.

    What is stored and right stays as it is. May be stopped and begun again at any time.
    """
    settings = load()
    found_system = settings.system(system)
    if found_system is None:
        raise typer.BadParameter(f"no system {system!r}; there are {', '.join(s.name for s in settings.systems)}")
    if found_system.on_done == "delete":
        raise BadSettings(f"{system}: on-done is delete, there is no done/; what Kafka still holds: pmflow replay")
    times = int(since.replace(tzinfo=UTC).timestamp()), int(until.replace(tzinfo=UTC).timestamp())
    with Progress(transient=True) as progress:
        task = progress.add_task(f"files of {system}", total=None)
        ends, troubles = backfill(
            settings, found_system, times, at_once, lambda ended, of: progress.update(task, completed=ended, total=of)
        )
    for trouble in troubles:
        typer.echo(f"not looked at: {trouble}", err=True)
    typer.echo(", ".join(f"{count} {end}" for end, count in sorted(ends.items())) or "no file of this time in done/")
    raise typer.Exit(1 if troubles or set(ends) - {"done"} else 0)
