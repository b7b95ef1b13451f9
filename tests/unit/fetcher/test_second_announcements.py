"""A file that is announced again keeps what the ledger says about it: its figures, its reason, its end."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from services.fetcher import metrics
from services.tracker.cycles import CycleStatistics
from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.messages import FileFound, FileStatus, Settle, SinkPosition, status_of
from shared.remote.local import LocalSession
from shared.remote.session import Denied
from shared.settings import Remote, System
from tests.fakes.elements import Element, local
from tests.fakes.fetching import PM, Fetching

OnDone = Literal["move", "delete", "leave"]
ON_DONE: tuple[OnDone, ...] = ("move", "delete", "leave")
CUT = b"no measurements [/b] here\n"


@pytest.fixture
def element(tmp_path: Path) -> Iterator[Element]:
    (tmp_path / "pm").mkdir()
    with local(tmp_path, tmp_path) as served:
        yield served


class Pipeline:
    """A fetcher and what the tracker would command; ends with the whole ledger of one file."""

    def __init__(self, element: Element, on_done: OnDone = "move", content: bytes = PM, **options: object) -> None:
        self.fetching = Fetching(element, system=System(name="5ga", on_done=on_done), attempts=1, **options)  # type: ignore[arg-type]
        self.file = replace(self.fetching.file("A.xml", content), end_s=int(time.time()) - 2000, found_s=time.time())
        self.ledger = self.fetching.ledger

    def announce(self, file: FileFound | None = None, *, again: bool = False) -> None:
        self.fetching.fetch(file or self.file, again=again)

    def settle(self) -> None:
        """Carries out the tracker's command for the newest answer."""
        status = next(s for s in reversed(self.ledger) if s.stage in {"parsed", "failed"})
        to: Literal["done", "error"] = "done" if status.stage == "parsed" else "error"
        self.ledger.append(self.fetching.settle(Settle(file_id=status.file_id, to=to, status=status)))

    @property
    def newest(self) -> FileStatus:
        """The entry that compaction leaves."""
        return self.ledger[-1]

    def figures(self) -> tuple[int, ...]:
        statistics = CycleStatistics(lambda _: ("mysql",), 900, 172_800)
        statistics.on_record(SinkPosition(sink="mysql", topic="pm.counters.5ga", partition=0, next_offset=99), 0.0)
        for status in self.ledger:
            statistics.on_record(status, time.time())
        found = statistics.figures("5ga", self.file.end_s, [], time.time())
        return found.done, found.error, found.lost, found.postponed, found.values, found.values_stored["mysql"]


def unchanged(now: FileStatus, before: FileStatus) -> bool:
    """Returns True if all but the time of the status is the same."""
    return replace(now, at_s=before.at_s) == before


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("on_done", ON_DONE)
def test_a_file_that_is_done_stays_done_with_its_figures(element: Element, on_done: OnDone, again: bool) -> None:
    """Again: the fetcher knows that the record was there before; else it was written to the topic once more."""
    pipeline = Pipeline(element, on_done)
    pipeline.announce()
    pipeline.settle()
    before, figures = pipeline.newest, pipeline.figures()
    assert (before.stage, before.values > 0, figures[0]) == ("done", True, 1)
    pipeline.announce(again=again)
    if on_done == "leave" and not again:  # it is where it was, so it is read and stored once more
        assert (pipeline.newest.stage, pipeline.newest.values) == ("parsed", before.values)
        pipeline.settle()
        assert pipeline.newest.values == before.values
    else:
        assert unchanged(pipeline.newest, before)
    assert pipeline.figures() == figures
    assert len(pipeline.fetching.done) == 2


def test_a_file_known_to_be_answered_is_not_even_fetched(element: Element) -> None:
    pipeline = Pipeline(element, "leave")
    pipeline.announce()
    pipeline.settle()
    entries, sessions = list(pipeline.ledger), pipeline.fetching.sessions()
    counted = metrics.DUPLICATES.labels("5ga")
    before = counted._value.get()
    pipeline.announce(again=True)
    assert pipeline.ledger == entries
    assert pipeline.fetching.sessions() == sessions
    assert counted._value.get() == before + 1


@pytest.mark.parametrize("again", [True, False])
def test_a_file_in_error_keeps_its_reason_and_a_discarded_one_stays_discarded(element: Element, again: bool) -> None:
    pipeline = Pipeline(element, content=CUT)
    pipeline.announce()
    pipeline.settle()
    before = pipeline.newest
    assert (before.stage, before.reason != "") == ("error", True)
    pipeline.announce(again=again)
    assert unchanged(pipeline.newest, before)
    discarded = replace(before, reason=f"discarded: {before.reason}")
    pipeline.ledger.append(discarded)
    pipeline.announce(again=again)
    assert unchanged(pipeline.newest, discarded)


def test_a_file_parsed_by_a_fetcher_that_died_before_its_commit_waits_for_its_sinks_as_before(
    element: Element,
) -> None:
    pipeline = Pipeline(element)
    pipeline.announce()
    before = pipeline.newest
    pipeline.announce(again=True)
    assert pipeline.newest == before
    assert before.stage == "parsed"
    pipeline.settle()
    assert (pipeline.newest.stage, pipeline.newest.values) == ("done", before.values)


@pytest.mark.parametrize("on_done", ON_DONE)
def test_a_file_announced_twice_in_a_backlog_is_read_once(element: Element, on_done: OnDone) -> None:
    pipeline = Pipeline(element, on_done)
    later = replace(pipeline.file, attempt=2)
    pipeline.ledger += [status_of(file, "found", time.time()) for file in (pipeline.file, later)]
    pipeline.announce(again=True)
    pipeline.settle()
    before, figures = pipeline.newest, pipeline.figures()
    pipeline.announce(later, again=True)
    assert pipeline.newest == before
    assert before.values > 0
    assert pipeline.figures() == figures


@pytest.mark.parametrize("on_done", ["move", "delete"])
def test_found_written_behind_done_by_a_scanner_that_listed_before_is_put_right(
    element: Element, on_done: OnDone
) -> None:
    pipeline = Pipeline(element, on_done)
    pipeline.announce()
    pipeline.settle()
    before, figures = pipeline.newest, pipeline.figures()
    later = replace(pipeline.file, attempt=2)
    pipeline.ledger.append(status_of(later, "found", time.time()))
    assert pipeline.figures() == figures
    pipeline.announce(later)
    assert unchanged(pipeline.newest, before)


def test_lost_written_behind_done_by_an_older_version_is_put_right(element: Element) -> None:
    pipeline = Pipeline(element, "delete")
    pipeline.announce()
    pipeline.settle()
    before, figures = pipeline.newest, pipeline.figures()
    pipeline.ledger.append(status_of(pipeline.file, "lost", time.time()))
    assert pipeline.figures() == figures
    pipeline.announce(again=True)
    assert unchanged(pipeline.newest, before)


def test_an_element_that_is_away_at_the_second_announcement_makes_no_done_file_postponed(element: Element) -> None:
    away: list[Unreachable] = []

    def connect(endpoint: Endpoint, settings: Remote) -> LocalSession:
        if away:
            raise away[0]
        return LocalSession()

    pipeline = Pipeline(element, connect=connect)
    pipeline.announce()
    pipeline.settle()
    before = pipeline.newest
    away.append(Unreachable("no route"))
    pipeline.fetching.manager.close()
    with suppress(Unreachable):
        pipeline.announce()
    assert unchanged(pipeline.newest, before)
    pipeline.fetching.manager.close()


def test_a_file_that_is_retried_by_hand_is_processed_and_its_new_figures_win(element: Element) -> None:
    pipeline = Pipeline(element, content=CUT.ljust(len(PM)))
    pipeline.announce()
    pipeline.settle()
    failed = pipeline.newest
    assert pipeline.fetching.settler.bring_back(failed)
    retried = replace(failed, stage="postponed", reason="retried by hand")
    pipeline.ledger.append(retried)
    pipeline.announce(again=True)  # the announcement before: answered
    assert pipeline.newest == retried
    (element.pm / "A.xml").write_bytes(PM)  # what could not be read before can be read now
    os.utime(element.pm / "A.xml", (failed.mtime_s, failed.mtime_s))
    later = replace(pipeline.file, attempt=2)
    pipeline.ledger.append(status_of(later, "found", time.time()))
    pipeline.announce(later, again=True)
    pipeline.settle()
    assert (pipeline.newest.stage, pipeline.newest.attempt, pipeline.newest.values > 0) == ("done", 2, True)
    assert pipeline.figures() == (1, 0, 0, 0, pipeline.newest.values, pipeline.newest.values)


def test_a_retry_that_cannot_be_fetched_is_tried_again_and_not_taken_for_the_answer_before(element: Element) -> None:
    pipeline = Pipeline(element, content=CUT)
    pipeline.announce()
    pipeline.settle()
    pipeline.ledger.append(replace(pipeline.newest, stage="postponed", reason="retried by hand"))
    later = replace(pipeline.file, attempt=2)
    pipeline.ledger.append(status_of(later, "found", time.time()))

    class Refusing(LocalSession):
        def read(self, path: bytes, size: int) -> bytes:
            raise Denied("550")

    refusing = Fetching(element, connect=lambda *_: Refusing(), attempts=1)
    refusing.ledger += pipeline.ledger
    refusing.fetch(later)
    assert refusing.ledger[-1].stage == "postponed"


def test_a_file_of_which_nothing_is_known_is_lost_if_it_is_nowhere_and_else_where_it_lies(element: Element) -> None:
    fetching = Fetching(element)
    (element.pm / "done").mkdir()
    file = fetching.file("A.xml")
    (element.pm / "A.xml").rename(element.pm / "done" / "A.xml")
    assert fetching.fetch(file, fetching.vanished("B.xml")) == {"A.xml": ["done"], "B.xml": ["lost"]}
    assert fetching.fetch(fetching.vanished("B.xml")) == {"B.xml": ["lost", "lost"]}  # listed again, and gone again


def test_a_file_that_vanishes_after_it_is_parsed_is_still_parsed(element: Element) -> None:
    pipeline = Pipeline(element)
    pipeline.announce()
    before = pipeline.newest
    (element.pm / "A.xml").unlink()
    pipeline.announce()
    assert unchanged(pipeline.newest, before)


def test_a_backfill_is_told_that_it_could_not_fetch_a_file_again(element: Element) -> None:
    pipeline = Pipeline(element)
    pipeline.announce()
    pipeline.settle()
    (element.pm / "done" / "A.xml").unlink()
    lies_at = pipeline.file.path.replace("A.xml", "done/A.xml")
    pipeline.announce(replace(pipeline.file, attempt=2, lies_at=lies_at), again=True)
    assert pipeline.newest.stage == "lost"


DAY_S = 86_400.0
KEEPS_S = 7 * DAY_S


def remembering(pipeline: Pipeline) -> Pipeline:
    """Returns the pipeline with a ledger that keeps files for seven days."""
    pipeline.fetching.worker = replace(pipeline.fetching.worker, ledger_keeps_s=lambda: KEEPS_S)
    return pipeline


@pytest.mark.parametrize("on_done", ["move", "delete"])
def test_an_announcement_of_a_file_that_was_removed_from_the_ledger_is_dropped_if_it_is_old(
    element: Element, on_done: OnDone, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = remembering(Pipeline(element, on_done))
    pipeline.announce()
    pipeline.settle()
    pipeline.ledger.clear()  # by a tombstone
    sessions = pipeline.fetching.sessions()
    counted = metrics.DUPLICATES.labels("5ga")
    before = counted._value.get()
    pipeline.announce(replace(pipeline.file, found_s=time.time() - KEEPS_S - 1))
    assert pipeline.ledger == []
    assert (len(pipeline.fetching.done), pipeline.fetching.sessions()) == (2, sessions)
    assert counted._value.get() == before + 1
    assert [record.levelname for record in caplog.records if record.message == "announcement too old"] == ["WARNING"]


@pytest.mark.parametrize("age_s", [KEEPS_S - 60, KEEPS_S + 60])
def test_a_file_that_vanished_before_it_was_fetched_is_lost_however_old_its_announcement_is(
    element: Element, age_s: float
) -> None:
    pipeline = remembering(Pipeline(element))
    (element.pm / "A.xml").unlink()
    old = replace(pipeline.file, found_s=time.time() - age_s)
    pipeline.ledger.append(status_of(old, "found", old.found_s))
    pipeline.announce(old)
    assert pipeline.newest.stage == "lost"


def test_a_young_announcement_is_processed_whatever_the_ledger_has_and_an_old_one_if_it_is_in_the_ledger(
    element: Element,
) -> None:
    pipeline = remembering(Pipeline(element))
    pipeline.announce()
    assert pipeline.newest.stage == "parsed"
    old = replace(pipeline.file, file_id="a" * 16, found_s=time.time() - 20 * DAY_S)
    pipeline.ledger.append(status_of(old, "found", old.found_s))
    pipeline.announce(old)
    assert (pipeline.newest.stage, pipeline.newest.file_id) == ("parsed", old.file_id)
