from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.settle.destination import destination
from services.scanner.lister import announcement
from shared.inventory import Endpoint
from shared.kafka.produce import Outgoing
from shared.messages import FileFound, FileStatus, path_bytes, status_of
from shared.remote.session import Entry
from shared.settings import System
from tools.cli.operate.backfill import (
    MOST_ATTEMPTS,
    Backfill,
    chosen_files,
    done_folders,
    settled_files,
    times_of,
    to_announce,
)

END_S = 1_700_000_100  # 2023-11-14 22:15 UTC, the 15th in Warsaw
ALL = (0, 2**40)
ENDPOINT = Endpoint(name="e1", directory="/pm/%Y%m%d", time_zone="Europe/Warsaw")


def collected(path: str, system: System, mtime_s: int = END_S + 60) -> FileFound:
    """Returns a file as the scanner announced it."""
    _, _, name = path.rpartition("/")
    return replace(
        announcement(system.name, ENDPOINT, path.encode(), Entry(name.encode(), 3, mtime_s), epoch=4),
    )


def lying(file: FileFound, system: System, *, again: bool = False) -> tuple[bytes, Entry]:
    """Returns the file's place in done/ as a listing shows it."""
    directory, _, name = destination(file, "done", system, ENDPOINT.zone, again=again).rpartition(b"/")
    return directory, Entry(name, file.size, file.mtime_s)


names = st.sampled_from(("A20231114.2300+0100-2315+0100_enb-1.xml", "some.csv.gz", "x.0123456789abcdef"))
done_directories = st.sampled_from(("done", "done/%Y%m%d", "%Y/%m/%d/done", "/archive/%Y%m%d", "done/"))


@given(name=names, below=st.sampled_from(("", "/x", "/x/y")), done=done_directories, marked=st.booleans())
def test_a_settled_file_keeps_the_identity_with_which_it_was_collected(
    name: str, below: str, done: str, marked: bool
) -> None:
    system = System(name="4ga", done_directory=done, depth=2)
    file = collected(f"/pm/20231115{below}/{name}", system)
    place = lying(file, system, again=marked)
    (back,) = settled_files([place], ENDPOINT, system, ALL, [file])
    assert back.file_id == file.file_id
    assert (back.path, back.end_s, back.element) == (file.path, file.end_s, file.element)
    assert path_bytes(back.lies_at) == place[0] + b"/" + place[1].name
    assert back.place == back.lies_at


@pytest.mark.parametrize("where", [b"/pm/20231115", b"/pm/20231115/error", b"/pm/20231115/done/old"])
def test_a_file_outside_of_done_is_not_taken_for_a_settled_one(where: bytes) -> None:
    system = System(name="4ga", depth=3)
    assert list(settled_files([(where, Entry(b"a.xml", 3, END_S))], ENDPOINT, system, ALL)) == []


def test_files_outside_of_the_time_range_are_left_out() -> None:
    system = System(name="4ga")
    file = collected("/pm/20231115/A20231114.2300+0100-2315+0100_enb-1.xml", system, mtime_s=9)
    place = [lying(file, system)]
    assert [f.file_id for f in settled_files(place, ENDPOINT, system, (END_S, END_S + 1))] == [file.file_id]
    assert list(settled_files(place, ENDPOINT, system, (END_S + 1, END_S + 9))) == []
    assert list(settled_files(place, ENDPOINT, system, (0, END_S))) == []


def test_files_are_read_where_they_are_if_the_system_leaves_them_there() -> None:
    system = System(name="4ga", on_done="leave")
    (file,) = settled_files([(b"/pm/20231115", Entry(b"a.xml", 3, END_S))], ENDPOINT, system, ALL)
    assert file.lies_at == file.path == "/pm/20231115/a.xml"


@pytest.mark.parametrize(
    ("settings", "looked_at"),
    [
        ({}, {b"/pm/20231115/done": 0}),
        ({"done_directory": "done/%Y%m%d"}, {b"/pm/20231115/done/20231115": 0}),
        ({"done_directory": "/archive/%Y%m%d"}, {b"/archive/20231115": 0}),
        ({"done_directory": "done/%Y", "depth": 1}, {b"/pm/20231115": 3}),
        ({"on_done": "leave", "depth": 1}, {b"/pm/20231115": 1}),
    ],
)
def test_the_directories_of_the_days_in_the_range_are_searched(
    settings: dict[str, Any], looked_at: dict[bytes, int]
) -> None:
    day = int(datetime(2023, 11, 15, tzinfo=UTC).timestamp())
    found_folders = done_folders(ENDPOINT, System(name="4ga", **settings), (day, day + 86_400))
    assert looked_at.items() <= found_folders.items()
    assert len(found_folders) <= 20


def test_a_file_whose_element_does_not_answer_is_announced_again_and_given_up_at_last() -> None:
    nothing: Any = None
    running = Backfill(nothing, nothing, at_once=1)
    file = collected("/pm/a.xml", System(name="4ga"))
    for attempt in range(1, MOST_ATTEMPTS + 1):
        running.in_flight[file.file_id] = replace(file, attempt=attempt)
        running._take(status_of(running.in_flight[file.file_id], "postponed", 0.0))
        assert not running.in_flight
        if attempt < MOST_ATTEMPTS:
            _, next_try = running.waiting.popleft()
            assert next_try.attempt == attempt + 1
    assert not running.waiting
    assert running.ends == {"unreachable": 1}


@pytest.mark.parametrize("stage", ["found", "fetching", "parsed"])
def test_a_backfill_waits_for_a_file_under_way(stage: Any) -> None:
    nothing: Any = None
    running = Backfill(nothing, nothing, at_once=1)
    file = collected("/pm/a.xml", System(name="4ga"))
    running.in_flight[file.file_id] = file
    running._take(status_of(file, stage, 0.0))
    assert running.in_flight
    running._take(status_of(file, "done", 0.0))
    assert (running.in_flight, running.ends) == ({}, {"done": 1})


def test_a_file_under_way_is_not_announced_unless_it_was_forgotten() -> None:
    file = collected("/pm/a.xml", System(name="4ga"))
    known = replace(status_of(file, "parsed", 100.0), found_s=7.0)
    assert to_announce(file, None, 200.0) == file
    assert to_announce(file, known, 200.0) is None
    assert (
        to_announce(file, known, 10_000.0)
        == to_announce(file, replace(known, stage="done"), 200.0)
        == replace(file, found_s=7.0, attempt=2)
    )


def test_files_are_chosen_by_ids_in_the_text_or_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("a1\nb2\n\n")
    assert chosen_files("a1, b2,") == chosen_files(f"@{tmp_path}/ids") == {"a1", "b2"}


def test_the_time_range_of_chosen_files_contains_each_of_them() -> None:
    first = collected("/pm/A.xml", System(name="4ga"), END_S)
    known = {"a": first, "b": replace(first, end_s=END_S + 900), "c": replace(first, end_s=END_S + 9000)}
    assert times_of(["a", "b", "unknown"], known) == (END_S, END_S + 901)
    assert times_of(["unknown"], known) == (0, 0)


class Written:
    """A producer that keeps what it is given."""

    def __init__(self) -> None:
        self.statuses: list[FileStatus] = []

    def deliver(self, *messages: Outgoing) -> None:
        self.statuses += [FileStatus.decode(message.value or b"") for message in messages]


@pytest.mark.parametrize("stage", ["lost", "postponed"])
def test_a_file_that_cannot_be_collected_again_keeps_what_the_ledger_said_of_it(stage: Any) -> None:
    file, written, nothing = collected("/pm/a.xml", System(name="4ga")), Written(), cast("Any", None)
    known = replace(status_of(file, "done", 100.0), values=7, attempt=3)
    announced = to_announce(file, known, 10_000.0)
    assert announced is not None
    running = Backfill(nothing, cast("Any", written), at_once=1, known={file.file_id: known})
    for attempt in range(4, 4 + MOST_ATTEMPTS):
        assert (announced.attempt, written.statuses) == (attempt, [])
        running.in_flight[file.file_id] = announced
        running._take(status_of(announced, stage, 0.0))
        if not running.waiting:
            break
        _, announced = running.waiting.popleft()
    (said,) = written.statuses
    assert replace(said, at_s=100.0) == known
    assert running.ends == {"lost" if stage == "lost" else "unreachable": 1}
