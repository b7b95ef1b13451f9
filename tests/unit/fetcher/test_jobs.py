"""Announcements and the jobs they ask for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.fetcher.intake.jobs import FetchJobs
from services.fetcher.intake.settle_jobs import SettleJobs
from services.fetcher.intake.waiting_files import Announced, FilesTogether, WaitingFiles
from services.fetcher.intake.waiting_records import Ticket
from services.fetcher.settings import FetcherSettings
from shared.defects import DefectBudget, TooManyDefects
from shared.errors import Unreachable
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Outgoing
from shared.kafka.record import Record
from shared.messages import BadMessage, FileFound, FileStatus, Settle, path_text


@dataclass
class Out:
    """The statuses published so far."""

    statuses: list[FileStatus] = field(default_factory=list)

    def status(self, status: FileStatus) -> None:
        self.statuses.append(status)

    def answer(self, status: FileStatus, then: Callable[[], None]) -> None:
        self.statuses.append(status)
        then()


def command(path: Path) -> Settle:
    seen = path.stat()
    status = FileStatus(
        file_id="0123456789abcdef", system="4ga", endpoint="e1", element="e1", path=path_text(bytes(path)),
        size=seen.st_size, mtime_s=int(seen.st_mtime), epoch=1, stage="parsed", at_s=0.0,
    )  # fmt: skip
    return Settle(file_id=status.file_id, to="done", status=status)


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
        process, lambda _: True, WaitingFiles(FilesTogether(100, 100), lambda _: 1), out.answer, DeadLetters(broker),  # type: ignore[arg-type]
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


def fetch_jobs(
    broker: Broker, out: Out, process: Callable[[Sequence[Announced]], None] = lambda _: None, most_defects: int = 10
) -> FetchJobs:
    return FetchJobs(
        process, lambda system: system == "4ga", WaitingFiles(FilesTogether(100, 100), lambda _: 1), out.answer,
        DeadLetters(broker), DefectBudget(most=most_defects),  # type: ignore[arg-type]
    )  # fmt: skip


def announcement(number: int, **fields: Any) -> Record:
    file = FileFound(
        **{
            "file_id": f"{number:016x}", "system": "4ga", "endpoint": "e", "element": "e", "path": f"/pm/{number}",
            "size": 1, "mtime_s": 1, "epoch": 1, **fields,
        }
    )  # fmt: skip
    return Record("pm.files.found", 0, number, b"e", file.encode(), 1.0)


def test_a_file_that_is_sent_but_not_durable_yet_is_not_sent_again_when_a_neighbour_fails() -> None:
    broker, out, sent = Broker(), Out(), list[str]()

    def process(files: Sequence[Announced]) -> None:
        for announced in files:
            if announced.file.path == "/pm/1":
                raise KeyError("poison")
            sent.append(announced.file.path)
            announced.is_sent = True

    fetching, done = fetch_jobs(broker, out, process), list[int]()
    works = [fetching(announcement(n), partial(done.append, n)).work for n in range(3)]
    for work in works:
        work()
    assert sorted(sent) == ["/pm/0", "/pm/2"]
    assert done == [1]  # it is set aside; the others are done when they are durable


def test_a_file_on_which_the_code_fails_after_it_was_sent_is_set_aside_and_ends_as_failed() -> None:
    broker, out, taken, done = Broker(), Out(), list[Announced](), list[int]()
    fetching = fetch_jobs(broker, out, taken.extend, most_defects=1)
    fetching(announcement(7), lambda: done.append(7)).work()
    (announced,) = taken
    announced.is_sent = True
    announced.on_defect(KeyError("poison"))
    assert [(status.stage, status.reason) for status in out.statuses] == [("failed", "defect: KeyError: 'poison'")]
    assert [letter.headers["origin"] for letter in broker.taken] == ["pm.files.found/0/7"]
    assert done == [7]
    fetching(announcement(8), lambda: done.append(8)).work()
    with pytest.raises(TooManyDefects):  # the process exits: the code is broken, not the files
        taken[1].on_defect(KeyError("poison"))
    with pytest.raises(Unreachable):  # not the fault of a file
        taken[1].on_defect(Unreachable("Kafka is away"))
    assert done == [7]


def test_an_announcement_waits_for_its_system_and_one_of_a_former_leader_for_nothing() -> None:
    fetching = fetch_jobs(Broker(), Out())
    assert fetching.ticket(announcement(1, epoch=2, attempt=3)) == Ticket("4ga", f"{1:016x}", 3, "4ga/e")
    assert fetching.ticket(announcement(2, epoch=1)) is None
    assert fetching.ticket(announcement(3, epoch=1, lies_at="/pm/done/3")) == Ticket("4ga", f"{3:016x}", 1, "4ga/e")
    with pytest.raises(BadMessage, match="no system '5ga' is configured"):
        fetching.ticket(announcement(4, system="5ga"))
    assert fetching.waiting.pools == {}  # waits in the dispatch, not for a download thread yet


def test_a_later_command_for_a_file_replaces_one_that_waits(tmp_path: Path) -> None:
    (tmp_path / "A.xml").write_text("a")
    given = command(tmp_path / "A.xml").encode()
    jobs = SettleJobs(FetcherSettings(), lambda _: [], Out().answer, DeadLetters(Broker()))  # type: ignore[arg-type]
    tickets = [jobs.ticket(Record("pm.files.settle", 0, offset, b"", given, 1.0)) for offset in (3, 8)]
    assert tickets == [Ticket("moves", "0123456789abcdef", rank, "4ga/e1") for rank in (3, 8)]
    with pytest.raises(BadMessage):
        jobs.ticket(Record("pm.files.settle", 0, 1, b"", b"{}", 1.0))
