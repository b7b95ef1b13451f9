"""Announcements and the jobs they ask for."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.fetcher.intake.jobs import FetchJobs
from services.fetcher.intake.waiting_files import Announced, WaitingFiles
from shared.defects import DefectBudget
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Outgoing
from shared.kafka.record import Record
from shared.messages import FileFound, FileStatus


@dataclass
class Out:
    """The statuses published so far."""

    statuses: list[FileStatus] = field(default_factory=list)

    def status(self, status: FileStatus) -> None:
        self.statuses.append(status)


class Broker:
    """Keeps the records that a producer would deliver."""

    def __init__(self) -> None:
        self.taken: list[Outgoing] = []

    def deliver(self, *messages: Outgoing) -> None:
        self.taken += messages


def test_a_file_on_which_the_work_fails_ends_as_failed_and_every_other_file_of_its_group_is_done_once() -> None:
    broker, out, renewed, done, worked = Broker(), Out(), list[int](), list[int](), list[str]()

    def process(files: Sequence[Announced]) -> None:
        for announced in files:
            if announced.file.path == "/pm/3":
                raise KeyError("poison")
            worked.append(announced.file.path)
            announced.done()

    jobs = FetchJobs(
        process, lambda _: True, WaitingFiles(100, 100), out.status, DeadLetters(broker),  # type: ignore[arg-type]
        DefectBudget(most=1), lambda: renewed.append(1),
    )  # fmt: skip
    files = [
        FileFound(
            file_id=f"{n:016x}", system="4ga", endpoint="e", element="e", path=f"/pm/{n}", size=1, mtime_s=1, epoch=1
        )
        for n in range(8)
    ]
    works = [
        jobs(Record("pm.files.found", 0, n, b"e", file.encode(), 1.0), lambda n=n: done.append(n)).work  # type: ignore[misc]
        for n, file in enumerate(files)
    ]
    for work in works:
        work()
    assert sorted(worked) == [file.path for file in files if file.path != "/pm/3"]
    assert sorted(done) == list(range(8))
    assert [(s.path, s.stage, s.reason) for s in out.statuses] == [("/pm/3", "failed", "defect: KeyError: 'poison'")]
    (letter,) = broker.taken
    assert (letter.topic, letter.value, letter.headers["origin"]) == (
        "pm.files.found.dlq", files[3].encode(), "pm.files.found/0/3"
    )  # fmt: skip
    assert renewed
