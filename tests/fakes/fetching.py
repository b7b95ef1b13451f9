"""A FileProcessorWorker on a real element; its messages are recorded instead of published."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from zoneinfo import ZoneInfo

from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin, Parsed, Quarantined
from services.fetcher.download import EndpointDownload
from services.fetcher.history import FileHistory, histories
from services.fetcher.intake.waiting_files import Announced
from services.fetcher.parse_pool.fair_threads import FairThreads
from services.fetcher.publish import PublishedBatches
from services.fetcher.settings import FetcherSettings
from services.fetcher.settle.settler import Settler
from services.fetcher.worker import FileProcessorWorker, FilePublisher
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.kafka.record import Record
from shared.messages import File, FileFound, FileStatus, Settle, file_identity
from shared.remote.service_manager import FtpServiceManager, open_session
from shared.remote.session import Session
from shared.settings import Remote, System
from tests.fakes.elements import Element

PM = (Path(__file__).parents[1] / "data" / "samples" / "A1.xml").read_bytes()
"""A good file."""
THREADS = 4
"""Threads that have files parsed."""


def read(data: bytes | Path, origin: Origin) -> Parsed:
    """Parses in this process."""
    return read_file(data if isinstance(data, bytes) else data.read_bytes(), origin)


def settled(settler: Settler, command: Settle) -> FileStatus:
    """Carries out a single command; raises why the file was not settled."""
    (outcome,) = settler.settle([command])
    if isinstance(outcome, Unreachable):
        raise outcome
    return outcome


class Fetching:
    """One worker, its element, and the messages it has published so far."""

    def __init__(
        self,
        element: Element,
        parse: Callable[[bytes | Path, Origin], Parsed] = read,
        out: FilePublisher | None = None,
        connect: Callable[[Endpoint, Remote], Session] = open_session,
        system: System | None = None,
        **settings: Any,
    ) -> None:
        self.element = element
        self.ledger: list[FileStatus] = []
        """Every status in the order of the ledger: those of the fetcher, and what a test adds."""
        self.manager = FtpServiceManager(element.settings, connect=connect)
        self.said: list[FileStatus] = []
        self.batches: list[bytes] = []
        self.done: list[FileFound] = []
        self.ended: SimpleQueue[FileStatus] = SimpleQueue()
        """The published statuses, for a test that waits for one."""
        self.settler = Settler(self.session, lambda file: system or System(name=file.system), lambda _: UTC)
        own = FetcherSettings(**{"first_wait_s": 0.01, **settings})
        self.worker = FileProcessorWorker(
            own,
            EndpointDownload(own, self.session),
            lambda _: ZoneInfo("UTC"),
            lambda _: dict.fromkeys(element.endpoint.aliases, element.endpoint.name),
            self.settler,
            out or self,
            parse,
            self.memory,
            FairThreads(THREADS).submit,
            self.history,
        )

    def file(self, name: str, content: bytes = PM) -> FileFound:
        """Returns a file that is on the element."""
        (self.element.pm / name).write_bytes(content)
        return self.vanished(name, len(content), int((self.element.pm / name).stat().st_mtime))

    def vanished(self, name: str, size: int = 10, mtime_s: int = 1) -> FileFound:
        """Returns a file that is announced but not on the element."""
        path = (self.element.directory + b"/" + name.encode()).decode()
        return FileFound(
            file_id=file_identity("5ga", "e1", path, size, mtime_s), system="5ga", endpoint="e1", element="e1",
            path=path, size=size, mtime_s=mtime_s, epoch=1,
        )  # fmt: skip

    def fetch(self, *files: FileFound, again: bool = False) -> dict[str, list[str]]:
        """Fetches all files together. Returns the stages published for each file name."""
        self.worker([Announced(file, partial(self.done.append, file), again=again) for file in files])
        return self.stages(*files)

    def settle(self, command: Settle) -> FileStatus:
        """Carries out a command; raises why the file was not settled."""
        return settled(self.settler, command)

    def stages(self, *files: FileFound) -> dict[str, list[str]]:
        return {
            file.path.rpartition("/")[2]: [said.stage for said in self.said if said.file_id == file.file_id]
            for file in files
        }

    def reason(self, file: FileFound) -> str:
        return self.said_of(file).reason

    def said_of(self, file: FileFound) -> FileStatus:
        (said,) = [said for said in self.said if said.file_id == file.file_id]
        return said

    def sessions(self) -> int:
        """Returns the number of sessions taken, new or reused."""
        return sum(host.connected + host.reused for _, host in self.manager.statistics().values())

    @contextmanager
    def session(self, _file: File) -> Iterator[Session]:
        with self.manager.session(self.element.endpoint) as session:
            yield session

    @staticmethod
    def memory(_system: str, _size: int) -> AbstractContextManager[None]:
        return nullcontext()

    def content(
        self,
        file: FileFound,
        blocks: Sequence[Quarantined],
        batches: Iterable[bytes],
        then: Callable[[PublishedBatches | Hopeless | Unreachable], None],
    ) -> None:
        first = len(self.batches)
        self.batches += batches
        then(PublishedBatches(f"pm.counters.{file.system}", 0, first, len(self.batches) - 1))

    def fetching(self, files: Sequence[FileStatus]) -> None:
        self.ledger += files

    def history(self, files: Sequence[FileFound]) -> Mapping[str, FileHistory]:
        records = [Record("", 0, n, s.file_id.encode(), s.encode(), s.at_s) for n, s in enumerate(self.ledger)]
        return histories(records, [file.file_id for file in files])

    def answer(self, status: FileStatus, then: Callable[[], None]) -> None:
        self.said.append(status)
        self.ledger.append(status)
        self.ended.put(status)
        then()
