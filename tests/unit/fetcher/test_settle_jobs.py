"""Commands to move files, on folders of this machine, some of which refuse."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from services.fetcher.intake.settle_jobs import SettleJobs
from services.fetcher.intake.waiting_commands import MOST_TOGETHER
from services.fetcher.settings import FetcherSettings
from services.fetcher.settle.settler import Settler
from shared.defects import DefectBudget
from shared.errors import Unreachable
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Outgoing
from shared.kafka.record import Record
from shared.messages import File, FileStatus, Settle, path_text
from shared.remote.local import LocalSession
from shared.settings import System


@dataclass
class Out:
    """The statuses published so far, and the offsets that are done."""

    statuses: list[FileStatus] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    letters: list[Outgoing] = field(default_factory=list)

    def publish(self, status: FileStatus, then: Callable[[], None]) -> None:
        self.statuses.append(status)
        then()

    def deliver(self, *messages: Outgoing) -> None:
        self.letters += messages

    @property
    def stages(self) -> dict[str, str]:
        return {status.path.rpartition("/")[2]: status.stage for status in self.statuses}


@dataclass
class Sessions:
    """Counts the sessions that were opened."""

    opened: int = 0

    @contextmanager
    def __call__(self, _: File) -> Iterator[LocalSession]:
        self.opened += 1
        yield LocalSession()


Settling = Callable[[Sequence[Settle]], list[FileStatus | Unreachable]]


def jobs(out: Out, settle: Settling | None = None, sessions: Sessions | None = None) -> SettleJobs:
    settings = FetcherSettings(attempts=2, first_wait_s=0.001)
    settler = Settler(sessions or Sessions(), lambda _: System(name="4ga"), lambda _: UTC)
    return SettleJobs(settings, settle or settler.settle, out.publish, DeadLetters(out), DefectBudget(most=1))  # type: ignore[arg-type]


def command(path: Path, endpoint: str = "e1", number: int = 0) -> Settle:
    seen = path.stat()
    status = FileStatus(
        file_id=f"{number:016x}", system="4ga", endpoint=endpoint, element=endpoint, path=path_text(bytes(path)),
        size=seen.st_size, mtime_s=int(seen.st_mtime), epoch=1, stage="parsed", at_s=0.0,
    )  # fmt: skip
    return Settle(file_id=status.file_id, to="done", status=status)


def commands(folder: Path, names: Sequence[str], endpoint: str = "e1") -> list[Settle]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(name)
    return [command(folder / name, endpoint, number) for number, name in enumerate(names)]


def works(made: SettleJobs, out: Out, given: Sequence[Settle]) -> list[Callable[[], None]]:
    """Returns the work of each command, as the dispatch hands it to the pool."""
    return [
        made(Record("pm.files.settle", 0, n, b"e", one.encode(), 1.0), lambda n=n: out.done.append(n)).work  # type: ignore[misc]
        for n, one in enumerate(given)
    ]


def execute(made: SettleJobs, out: Out, given: Sequence[Settle]) -> None:
    for work in works(made, out, given):
        work()


def test_a_refused_move_is_tried_a_few_times_and_the_ledger_says_why_the_file_was_not_moved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The tracker repeats the command later: no endless loop, no file counted as moved, no figure changed."""
    (tmp_path / "A.xml").write_text("a")
    (tmp_path / "done").write_text("a file where the folder should be")
    out = Out()
    given = command(tmp_path / "A.xml")
    execute(jobs(out), out, [given])
    (stays,) = out.statuses
    assert stays == replace(given.status, at_s=stays.at_s, moves_refused=1, not_moved=stays.not_moved)
    assert "File exists" in stays.not_moved
    assert (tmp_path / "A.xml").exists()
    said: list[tuple[int, str, Any]] = [(r.levelno, r.message, vars(r)["attempt"]) for r in caplog.records]
    assert said == [
        (logging.WARNING, "file not moved, retrying", 1),
        (logging.ERROR, "file not moved, left for a later command", 2),
    ]
    (tmp_path / "done").unlink()
    execute(jobs(out), out, [replace(given, status=stays)])
    assert [(s.stage, s.moves_refused, s.not_moved) for s in out.statuses[1:]] == [("done", 0, "")]
    assert (tmp_path / "done" / "A.xml").exists()
    assert out.done == [0, 0]


def test_commands_of_one_element_that_wait_together_are_executed_over_one_session(tmp_path: Path) -> None:
    names = [f"{n}.xml" for n in range(MOST_TOGETHER)]
    out, sessions = Out(), Sessions()
    execute(jobs(out, sessions=sessions), out, commands(tmp_path / "pm", names))
    assert out.stages == dict.fromkeys(names, "done")
    assert sorted(path.name for path in (tmp_path / "pm" / "done").iterdir()) == sorted(names)
    assert (sessions.opened, sorted(out.done)) == (1, list(range(MOST_TOGETHER)))


def test_one_refused_move_leaves_the_others_of_its_element_done_and_is_alone_tried_again(tmp_path: Path) -> None:
    given = commands(tmp_path, ["A.xml", "B.xml", "C.xml"])
    (tmp_path / "done" / "B.xml").mkdir(parents=True)  # not replaced by a file
    (tmp_path / "done" / "B.xml" / "x").touch()
    tried: list[list[str]] = []
    settler = Settler(Sessions(), lambda _: System(name="4ga", on_conflict="replace"), lambda _: UTC)

    def settle(group: Sequence[Settle]) -> list[FileStatus | Unreachable]:
        tried.append([one.status.path.rpartition("/")[2] for one in group])
        return settler.settle(group)

    out = Out()
    execute(jobs(out, settle), out, given)
    assert out.stages == {"A.xml": "done", "C.xml": "done", "B.xml": "parsed"}
    assert tried == [["A.xml", "B.xml", "C.xml"], ["B.xml"]]
    assert "Is a directory" in out.statuses[-1].not_moved
    assert sorted(out.done) == [0, 1, 2]


def test_a_command_on_which_the_code_fails_counts_as_not_moved_and_its_neighbours_are_answered(tmp_path: Path) -> None:
    given = commands(tmp_path, ["A.xml", "B.xml", "C.xml", "D.xml"])
    settler = Settler(Sessions(), lambda _: System(name="4ga"), lambda _: UTC)

    def settle(group: Sequence[Settle]) -> list[FileStatus | Unreachable]:
        if any(one.status.path.endswith("C.xml") for one in group):
            raise KeyError("poison")
        return settler.settle(group)

    out = Out()
    execute(jobs(out, settle), out, given)
    assert out.stages == {"A.xml": "done", "B.xml": "done", "C.xml": "parsed", "D.xml": "done"}
    (status,) = [status for status in out.statuses if status.stage == "parsed"]
    assert (status.moves_refused, status.not_moved) == (1, "defect: KeyError: 'poison'")
    (letter,) = out.letters
    assert (letter.topic, letter.value) == ("pm.files.settle.dlq", given[2].encode())
    assert sorted(out.done) == [0, 1, 2, 3]


def test_an_element_that_hangs_occupies_one_thread_and_what_comes_for_it_meanwhile_is_executed_later(
    tmp_path: Path,
) -> None:
    hangs, goes_on = Event(), Event()
    settler = Settler(Sessions(), lambda _: System(name="4ga"), lambda _: UTC)

    def settle(group: Sequence[Settle]) -> list[FileStatus | Unreachable]:
        if group[0].status.endpoint == "slow" and not goes_on.is_set():
            hangs.set()
            assert goes_on.wait(10)
        return settler.settle(group)

    out = Out()
    made = jobs(out, settle)
    slow = commands(tmp_path / "slow", [f"S{n}" for n in range(5)], "slow")
    others = [commands(tmp_path / f"e{n}", [f"E{n}"], f"e{n}")[0] for n in range(5)]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(works(made, out, slow[:1])[0])
        assert hangs.wait(10)
        for later in [pool.submit(work) for work in works(made, out, [*slow[1:], *others])]:
            later.result(10)
        assert out.stages == {f"E{n}": "done" for n in range(5)}
        goes_on.set()
        first.result(10)
    assert out.stages == {f"{kind}{n}": "done" for kind in "SE" for n in range(5)}
    assert len(out.done) == 10


def test_a_host_that_hangs_with_many_elements_leaves_sixteen_of_twenty_threads_to_the_others(tmp_path: Path) -> None:
    """Sixteen commands for other hosts are carried out at the same time while forty of a hanging one wait."""
    settler, goes_on, together = Settler(Sessions(), lambda _: System(name="4ga"), lambda _: UTC), Event(), Barrier(16)

    def settle(group: Sequence[Settle]) -> list[FileStatus | Unreachable]:
        if host_of(group[0].status) == "oss":
            assert goes_on.wait(30)
        else:
            together.wait(30)
        return settler.settle(group)

    def host_of(file: File) -> str:
        return "oss" if file.endpoint.startswith("oss") else file.endpoint

    out = Out()
    made = SettleJobs(FetcherSettings(), settle, out.publish, DeadLetters(out), host_of=host_of)  # type: ignore[arg-type]
    hanging = [commands(tmp_path / f"oss{n}", [f"H{n}"], f"oss{n}")[0] for n in range(40)]
    others = [commands(tmp_path / f"e{n}", [f"E{n}"], f"e{n}")[0] for n in range(32)]
    with ThreadPoolExecutor(FetcherSettings().movers) as pool:
        ends = [pool.submit(work) for work in works(made, out, [*hanging, *others])]
        while len(out.statuses) < len(others) and not together.broken:
            wait(ends, timeout=0.01)
        assert out.stages == {f"E{n}": "done" for n in range(32)}
        goes_on.set()
    assert len(out.done) == len(hanging) + len(others)


def test_endpoints_are_served_in_turn_however_many_commands_one_of_them_has(tmp_path: Path) -> None:
    settler = Settler(Sessions(), lambda _: System(name="4ga"), lambda _: UTC)
    turns: list[str] = []

    def settle(group: Sequence[Settle]) -> list[FileStatus | Unreachable]:
        turns.append(group[0].status.endpoint)
        return settler.settle(group)

    out = Out()
    made = jobs(out, settle)
    flood = commands(tmp_path / "flood", [f"F{n}" for n in range(3 * MOST_TOGETHER)], "flood")
    execute(made, out, [*flood, commands(tmp_path / "calm", ["C"], "calm")[0]])
    assert turns == ["flood", "calm", "flood", "flood"]
    assert set(out.stages.values()) == {"done"}
    assert len(out.done) == len(flood) + 1
