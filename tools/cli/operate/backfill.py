"""`pmflow backfill`: sends files of a time range from done/ through the pipeline again; the files stay there."""

import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, time
from typing import Annotated

import typer
from rich.progress import Progress

from services.fetcher.operate import destination
from services.scanner.operate import announcement, cycle_of
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint, endpoints
from shared.kafka.consume import Consumer, follow_all
from shared.kafka.produce import Producer, about_element, announcement_of
from shared.messages import File, FileFound, FileStatus, path_bytes, path_text, status_of
from shared.remote.connection_shares import ConnectionShares
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Denied, Entry, Gone, Session, child
from shared.settings import BadSettings, Settings, System, load
from shared.topics import FILES_FOUND, FILES_STATUS
from tools.cli.operate import ledger
from tools.cli.operate.ready import require_ready
from tools.cli.output import say

CONFLICT_SUFFIX = re.compile(rb"\.[0-9a-f]{16}\Z")
"""Suffix of a file that was moved to done/ while another file there had its name."""
STAGES_UNDER_WAY = frozenset({"found", "fetching", "parsed"})
FORGOTTEN_AFTER_S = 3600.0
"""Age of the last status after which a file under way is taken for forgotten."""
MOST_ATTEMPTS = 5
RETRY_AFTER_S = 30.0
TimeRangeS = tuple[int, int]
"""A time range in seconds since 1970 UTC, by the end of the files' periods; the end is excluded.

A file whose name does not state a period counts by its modification time.
"""


def done_folders(endpoint: Endpoint, system: System, times: TimeRangeS) -> Mapping[bytes, int]:
    """Returns the directories that may hold settled files of these times, and the levels to search below each."""
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


def settled_files(
    listed: Iterable[tuple[bytes, Entry]],
    endpoint: Endpoint,
    system: System,
    times: TimeRangeS,
    known: Iterable[File] = (),
) -> Iterator[FileFound]:
    """Yields the listed files that were collected, each as it was first announced, so that it keeps its identity.

    A listed file was collected if pmflow would move it to where it is. Where one done/ holds the files of several
    directories, `known` files tell the directory; a file that is no longer known may get another identity, which
    changes no value.
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
        yield announcement(system.name, endpoint, child(directory, entry.name), entry, epoch=0)
        return
    names = (
        {CONFLICT_SUFFIX.sub(b"", entry.name): True, entry.name: False}
        if CONFLICT_SUFFIX.search(entry.name)
        else {entry.name: False}
    )
    for parent in parents:
        for name, again in names.items():
            file = announcement(system.name, endpoint, child(parent, name), replace(entry, name=name), epoch=0)
            if destination(file, "done", system, endpoint.zone, again=again) == child(directory, entry.name):
                yield file


def _parents(directory: bytes, entry: Entry, endpoint: Endpoint, system: System) -> Sequence[bytes]:
    """Returns the directories in which a file may have been found."""
    if system.done_directory.startswith("/"):
        return [base for days in (0, 1) for base in endpoint.directories(entry.mtime_s + days * 86_400)]
    return [directory.rsplit(b"/", system.done_directory.strip("/").count("/") + 1)[0]]


def find_files(
    settings: Settings, system: System, times: TimeRangeS, known: Collection[File]
) -> tuple[list[FileFound], list[str]]:
    """Returns the files on all elements, and the elements that do not answer, with the reason."""
    manager = FtpServiceManager(settings.elements, limit=ConnectionShares(lambda: settings).scanner)

    def on(endpoint: Endpoint) -> list[FileFound] | str:
        try:
            with manager.session(endpoint) as session:
                return list(settled_files(_listing(session, endpoint, system, times), endpoint, system, times, known))
        except (Unreachable, Hopeless) as error:
            return f"{endpoint.name}: {error}"

    with ThreadPoolExecutor(8) as pool:
        looks = list(pool.map(on, endpoints(system).values()))
    manager.close()
    files = [file for some in looks if isinstance(some, list) for file in some]
    return sorted(files, key=cycle_of), [trouble for trouble in looks if isinstance(trouble, str)]


def _listing(session: Session, endpoint: Endpoint, system: System, times: TimeRangeS) -> Iterator[tuple[bytes, Entry]]:
    for directory, depth in done_folders(endpoint, system, times).items():
        try:
            for where, entry in session.tree(directory, depth):
                if isinstance(entry, Entry):
                    yield where, entry
                elif isinstance(entry, Denied):
                    raise entry
        except Gone:
            continue  # no file was settled on that day


@dataclass
class Backfill:
    """Announces files, at most `at_once` at a time, and follows each one until it is finished."""

    reader: Consumer
    """Consumer of the ledger, positioned before the first announcement."""
    producer: Producer
    at_once: int
    waiting: deque[tuple[float, FileFound]] = field(default_factory=deque)
    """Files to announce, each with the earliest time for it."""
    known: Mapping[str, FileStatus] = field(default_factory=dict)
    """File id -> its status before; it is published again if the file cannot be collected once more."""
    in_flight: dict[str, FileFound] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)

    def run(self, files: Sequence[FileFound], on_progress: Callable[[int], object]) -> Counter[str]:
        """Returns the number of files by final stage; calls `on_progress` with the number of files finished so far."""
        self.waiting += ((0.0, file) for file in files)
        while self.waiting or self.in_flight:
            self._announce()
            for _, status in ledger.ledger_records(self.reader.poll(1000, 0.5)):
                if isinstance(status, FileStatus) and status.file_id in self.in_flight:
                    self._take(status)
            on_progress(self.ends.total())
        return self.ends

    def _announce(self) -> None:
        """Writes the statuses to the ledger before the announcements, as the scanner does."""
        files = []
        for _ in range(min(len(self.waiting), self.at_once - len(self.in_flight))):
            if self.waiting[0][0] > monotonic():
                break
            files.append(self.waiting.popleft()[1])
        statuses = [status_of(file, "found", time()) for file in files]
        self.producer.deliver(*(about_element(FILES_STATUS, s.element, s.file_id, s.encode()) for s in statuses))
        self.producer.deliver(*(announcement_of(file) for file in files))
        self.in_flight |= {file.file_id: file for file in files}

    def _take(self, status: FileStatus) -> None:
        if status.stage in {"done", "error", "lost"}:
            file = self.in_flight.pop(status.file_id)
            self.ends[status.stage] += 1
            if status.stage == "lost":
                self._restore(file)
        elif status.stage == "postponed":
            file = self.in_flight.pop(status.file_id)
            if file.attempt - self._attempts_before(file) < MOST_ATTEMPTS:
                self.waiting.append((monotonic() + RETRY_AFTER_S, replace(file, attempt=file.attempt + 1)))
            else:
                self.ends["unreachable"] += 1
                self._restore(file)

    def _attempts_before(self, file: FileFound) -> int:
        return self.known[file.file_id].attempt if file.file_id in self.known else 0

    def _restore(self, file: File) -> None:
        """Publishes the earlier status of a file that could not be collected again: it is stored all the same."""
        if known := self.known.get(file.file_id):
            status = replace(known, at_s=time())
            self.producer.deliver(about_element(FILES_STATUS, status.element, status.file_id, status.encode()))


def backfill(
    settings: Settings,
    system: System,
    chosen: TimeRangeS | frozenset[str],
    at_once: int,
    on_progress: Callable[[int, int], object],
) -> tuple[Counter[str], list[str]]:
    """Collects the files of a time range, or those with the given ids, again.

    Returns the number of files by final stage, and why elements were not searched and files not found.
    Calls `on_progress` with the number of files finished so far and the number of all files.
    """
    brokers = settings.kafka
    reader = follow_all(brokers, FILES_STATUS)
    known = ledger.ledger_of(ledger.records_until_now(reader, brokers, FILES_STATUS)).files
    times = times_of(chosen, known) if isinstance(chosen, frozenset) else chosen
    files, troubles = find_files(settings, system, times, known.values())
    if isinstance(chosen, frozenset):
        files = [file for file in files if file.file_id in chosen]
        troubles += [f"{file_id}: not found in done/" for file_id in sorted(chosen - {file.file_id for file in files})]
    through = [one for file in files if (one := to_announce(file, known.get(file.file_id), time()))]
    producer = Producer(brokers)
    ends = Backfill(reader, producer, at_once, known=known).run(through, lambda ended: on_progress(ended, len(through)))
    producer.close()
    reader.close()
    return ends, troubles


def times_of(file_ids: Collection[str], known: Mapping[str, File]) -> TimeRangeS:
    """Returns the time range that contains these files; an empty one if the ledger has none of them."""
    times_s = [cycle_of(known[file_id]) for file_id in file_ids if file_id in known]
    return (min(times_s), max(times_s) + 1) if times_s else (0, 0)


def chosen_files(text: str) -> frozenset[str]:
    """Returns the file ids in a text: separated by commas, or one per line in the file @NAME."""
    ids = Path(text[1:]).read_text().split() if text.startswith("@") else text.split(",")
    return frozenset(one.strip() for one in ids if one.strip())


def to_announce(file: FileFound, known: FileStatus | None, now_s: float) -> FileFound | None:
    """Returns the file as it should be announced; None while it is under way, to done/ or in another backfill."""
    if known is None:
        return file
    under_way = known.stage in STAGES_UNDER_WAY and now_s - known.at_s < FORGOTTEN_AFTER_S
    return None if under_way else replace(file, found_s=known.found_s, attempt=known.attempt + 1)


def _chosen(since: datetime | None, until: datetime | None, files: str) -> TimeRangeS | frozenset[str]:
    if bool(files) == bool(since and until):
        raise typer.BadParameter("expected either --from and --to, or --files")
    if since is None or until is None:
        return chosen_files(files)
    return int(since.replace(tzinfo=UTC).timestamp()), int(until.replace(tzinfo=UTC).timestamp())


def backfill_command(
    system: Annotated[str, typer.Option(help="system whose files are collected again")],
    since: Annotated[
        datetime | None, typer.Option("--from", help="collect files whose periods end at or after this time, UTC")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", help="collect files whose periods end before this time, UTC")
    ] = None,
    files: Annotated[
        str,
        typer.Option(help="collect files with these ids instead: separated by commas, or in the file @NAME"),
    ] = "",
    at_once: Annotated[
        int, typer.Option(min=1, help="largest number of files under way; they count towards in-flight-limit")
    ] = 500,
) -> None:
    """Collect and store the files in done/ of a time range, or with given ids, again; exit with 1 unless all are done.

    The files stay where they are, and correct values do not change. You may stop and restart it at any time.
    """
    settings = load()
    found_system = settings.system(system)
    if found_system is None:
        raise typer.BadParameter(f"no system {system!r}; configured: {', '.join(s.name for s in settings.systems)}")
    if found_system.on_done == "delete":
        raise BadSettings(
            f"{system}: on-done is delete, so no files are left to collect; use pmflow replay for data still in Kafka"
        )
    chosen = _chosen(since, until, files)
    require_ready(settings, FILES_STATUS, FILES_FOUND)
    with Progress(transient=True) as progress:
        task = progress.add_task(f"files of {system}", total=None)
        ends, troubles = backfill(
            settings, found_system, chosen, at_once, lambda ended, of: progress.update(task, completed=ended, total=of)
        )
    for trouble in troubles:
        say(f"not collected: {trouble}", err=True)
    say(", ".join(f"{count} {end}" for end, count in sorted(ends.items())) or "no such files in done/")
    raise typer.Exit(1 if troubles or set(ends) - {"done"} else 0)
