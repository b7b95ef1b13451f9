"""A scanner's memory of the ledger: as a plain dict of newest statuses, but in ten bytes per finished file."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from time import time
from typing import cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scanner.file_progress import FileProgress, by_own_clock, decode_progress
from services.scanner.finished_files import FinishedFiles
from services.scanner.in_flight import FilesInFlight
from services.scanner.known_files import FINISHED, KEPT_DAYS, KnownFile, KnownFiles, day_of
from services.scanner.ledger import LedgerFollower
from shared.configuration.kafka import Kafka
from shared.defects import DefectBudget
from shared.kafka.produce import Producer
from shared.kafka.record import Record
from shared.ledger import decode_status
from shared.messages import BadMessage, FileStatus, SinkPosition, Stage

SINKS = ("mysql", "clickhouse")
NOW_S = 1_700_000_000.0
TODAY = day_of(NOW_S)
STATUS = FileStatus(
    file_id="0" * 16, system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
    stage="found", at_s=NOW_S,
)  # fmt: skip
IDS = ("0" * 16, "0" * 15 + "1", "7ff" + "f" * 13, "8" + "0" * 15, "f" * 16)
"""The ends of the first and the last bucket, and neighbours across a border of two."""
FILES_IDS = st.sampled_from(IDS)
STATUSES = st.builds(
    replace,
    st.just(STATUS),
    file_id=FILES_IDS,
    system=st.sampled_from(("4ga", "5ga")),
    endpoint=st.sampled_from(("e1", "e2")),
    stage=st.sampled_from(get_args(Stage)),
    attempt=st.integers(1, 3),
    at_s=st.floats(NOW_S - 10, NOW_S),
    topic=st.sampled_from(("pm.counters.4ga", "pm.counters.5ga")),
    partition=st.integers(0, 1),
    last_offset=st.integers(-1, 6),
    moves_refused=st.integers(0, 1),
)
POSITIONS = st.builds(
    SinkPosition,
    sink=st.sampled_from(SINKS),
    topic=st.sampled_from(("pm.counters.4ga", "pm.counters.5ga")),
    partition=st.integers(0, 1),
    next_offset=st.integers(0, 7),
)
EVENTS = st.lists(st.one_of(STATUSES, STATUSES, POSITIONS, FILES_IDS), max_size=30)
"""Statuses, positions, and the ids of files that a tombstone removes."""


def record(event: FileStatus | SinkPosition | str) -> Record:
    if isinstance(event, str):
        return Record("", 0, 0, event.encode(), None, NOW_S)
    key = event.file_id if isinstance(event, FileStatus) else f"{event.sink}/{event.topic}/{event.partition}"
    return Record("", 0, 0, key.encode(), event.encode(), NOW_S)


def follower() -> LedgerFollower:
    ledger = LedgerFollower(Kafka(bootstrap_servers="127.0.0.1:1"), cast("Producer", None), DefectBudget())
    ledger.reader.close()
    ledger.today = TODAY
    return ledger


def expected(status: FileStatus) -> KnownFile:
    if status.stage in {"done", "error", "failed"} or (status.stage == "parsed" and status.moves_refused):
        return FINISHED
    return KnownFile(status.system, status.endpoint, status.stage, status.at_s, status.attempt, status.found_s)


def counted(newest: Iterable[FileStatus], positions: Mapping[str, int], system: str) -> FilesInFlight:
    """Returns what is in flight, by a look at every file."""
    waiting, parsed = Counter[str](), Counter[str]()
    for status in newest:
        if status.system != system:
            continue
        at = f"{status.topic}/{status.partition}"
        stored = all(positions.get(f"{sink}/{at}", 0) > status.last_offset for sink in SINKS)
        waiting[status.endpoint] += status.stage in {"found", "fetching"}
        parsed[status.endpoint] += status.stage == "parsed" and not status.moves_refused and not stored
    return FilesInFlight(waiting.total(), parsed.total(), waiting + parsed)


@settings(max_examples=300, deadline=None)
@given(batches=st.lists(EVENTS, max_size=4), repeated=st.booleans())
def test_the_memory_is_that_of_a_dict_of_the_newest_statuses(
    batches: list[list[FileStatus | SinkPosition | str]], repeated: bool
) -> None:
    ledger, newest, positions = follower(), dict[str, FileStatus](), dict[str, int]()
    for events in batches:
        records = [record(event) for event in events]
        for _ in range(1 + repeated):  # a batch that failed is taken again
            ledger._take(records)
        for event, taken in zip(events, records, strict=True):
            if isinstance(event, str):
                newest.pop(event, None)
            elif isinstance(event, FileStatus):
                newest[event.file_id] = event
            else:
                positions[taken.key_text] = event.next_offset
    assert dict(ledger.files) == {file_id: expected(status) for file_id, status in newest.items()}
    assert [ledger.files.get(file_id) for file_id in IDS] == [
        expected(newest[file_id]) if file_id in newest else None for file_id in IDS
    ]
    assert len(ledger.files) == len(newest)
    for system in ("4ga", "5ga"):
        assert ledger.in_flight(system, SINKS) == counted(newest.values(), positions, system)


@given(st.lists(st.tuples(st.sampled_from(IDS), st.integers(TODAY - 2, TODAY), st.booleans())), st.integers(-3, 1))
def test_a_set_of_finished_files_is_a_dict_of_days(changes: list[tuple[str, int, bool]], age: int) -> None:
    files, days = FinishedFiles(), dict[int, int]()
    for file_id, day, added in changes:
        if added:
            files.add(int(file_id, 16), day)
            days[int(file_id, 16)] = day
        else:
            files.discard(int(file_id, 16))
            days.pop(int(file_id, 16), None)
    assert list(files) == sorted(days)
    assert len(files) == len(days)
    files.forget_before(TODAY + age)
    left = {number for number, day in days.items() if day >= TODAY + age}
    assert (list(files), len(files)) == (sorted(left), len(left))
    assert {number for number in map(_number, IDS) if number in files} == left


def _number(file_id: str) -> int:
    return int(file_id, 16)


def test_a_finished_file_takes_eleven_bytes() -> None:
    files = FinishedFiles()
    empty = _bytes(files)
    for number in range(200_000):
        files.add(_number(blake2b(b"%d" % number, digest_size=8).hexdigest()), TODAY)
    assert (_bytes(files) - empty) / 200_000 < 12
    for number in range(200_000):
        files.discard(_number(blake2b(b"%d" % number, digest_size=8).hexdigest()))
    files.forget_before(TODAY)
    assert (_bytes(files), len(files)) == (empty, 0)


def _bytes(files: FinishedFiles) -> int:
    return sum(map(sys.getsizeof, files.ids)) + sum(map(sys.getsizeof, files.days))


def test_files_that_left_the_ledger_by_age_are_forgotten_once_a_day() -> None:
    ledger = follower()
    old = replace(STATUS, at_s=NOW_S - 86_400.0)
    ledger.record(replace(old, file_id=IDS[0], stage="done"))
    ledger.record(replace(old, file_id=IDS[1]))
    ledger.record(replace(STATUS, file_id=IDS[2], stage="done"))
    ledger.record(replace(STATUS, file_id=IDS[3], endpoint="e2"))
    ledger.forget_old(NOW_S + (KEPT_DAYS - 1) * 86_400.0)
    assert set(ledger.files) == set(IDS[:4])
    ledger.forget_old(NOW_S + KEPT_DAYS * 86_400.0)
    assert set(ledger.files) == {IDS[2], IDS[3]}
    assert ledger.in_flight("4ga").by_endpoint == {"e2": 1}
    ledger.forget_old(NOW_S + (KEPT_DAYS + 1) * 86_400.0)
    assert dict(ledger.files) == {}
    assert ledger.in_flight("4ga").by_endpoint == {}


@pytest.mark.parametrize("at_s", [0.0, NOW_S + 1e9])
def test_a_status_by_a_wrong_clock_is_neither_forgotten_at_once_nor_kept_for_ever(at_s: float) -> None:
    files = KnownFiles()
    files.record(replace(STATUS, stage="done", at_s=at_s), TODAY)
    assert files.forget_before(TODAY - KEPT_DAYS) == []
    assert files[STATUS.file_id] == FINISHED
    files.forget_before(TODAY + 1)
    assert STATUS.file_id not in files


def test_nothing_is_kept_of_the_endpoints_and_partitions_of_files_that_are_through() -> None:
    ledger = follower()
    for number in range(100):
        file = replace(STATUS, file_id=f"{number:016x}", endpoint=f"e{number}", topic=f"pm.counters.{number}")
        for stage in ("found", "fetching", "parsed", "done"):
            ledger.record(replace(file, stage=stage))
    room = ledger.taking_room
    assert (room.waiting, room.parsed, room.by_offset, dict(room.of_endpoints)) == ({}, {}, {}, {"4ga": {}})
    assert ledger.files.under_way == {}


def test_tombstones_of_other_entries_remove_no_file() -> None:
    ledger = follower()
    ledger.record(STATUS)
    for key in (b"mysql/0000000000000000/0000000000000000", b"", b"\xff" * 16, b"+000000000000000", b"0" * 17):
        ledger._take([Record("", 0, 0, key, None, NOW_S)])
    assert set(ledger.files) == {STATUS.file_id}
    ledger._take([record(STATUS.file_id), record(STATUS.file_id)])
    assert set(ledger.files) == set()


@given(STATUSES)
def test_the_progress_of_a_file_is_that_of_its_whole_status(status: FileStatus) -> None:
    progress = decode_progress(status.encode())
    assert isinstance(progress, FileProgress)
    assert {name: getattr(progress, name) for name in FileProgress.__struct_fields__} == {
        name: getattr(status, name) for name in FileProgress.__struct_fields__
    }


@given(STATUSES, st.floats(0.0, 4e9))
def test_a_status_by_a_clock_that_is_ahead_counts_from_its_arrival(status: FileStatus, now_s: float) -> None:
    for found in (status, decode_progress(status.encode())):
        assert isinstance(found, FileStatus | FileProgress)
        own = by_own_clock(found, now_s)
        assert own.at_s == min(status.at_s, now_s)
        assert (own.file_id, own.stage) == (status.file_id, status.stage)


def test_a_file_postponed_by_a_clock_that_is_ahead_is_not_waited_for_by_the_ledger() -> None:
    ledger = follower()
    postponed = replace(STATUS, stage="postponed", at_s=time() + 1e6)
    ledger._take([Record("", 0, 0, STATUS.file_id.encode(), postponed.encode(), NOW_S)])
    assert ledger.files[STATUS.file_id].at_s <= time()


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"kind":"file-status","file_id":"x"}', b'{"kind":"file-status","\xff"}'])
def test_a_progress_that_cannot_be_read_is_refused_for_the_reason_of_the_whole_status(raw: bytes) -> None:
    with pytest.raises(BadMessage) as whole:
        decode_status(raw)
    with pytest.raises(BadMessage) as progress:
        decode_progress(raw)
    assert str(progress.value) == str(whole.value)
