"""Each file ends with one status, whatever it or its neighbours are; large files are never held in memory."""

import gzip
import logging
import os
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

import pytest

from services.fetcher import metrics
from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.parse.blocks import shipped
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse_pool.child import ParserMemory
from services.fetcher.parse_pool.pool import ParserPool, ParserPoolLimits
from services.fetcher.preprocess.declared import DeclaredType
from services.fetcher.preprocess.dictionary import Dictionary
from services.fetcher.preprocess.steps import Preprocessing
from services.fetcher.publish import KafkaProducerWorker, PublishedBatches
from shared.errors import Unreachable
from shared.messages import CounterBatch, FileFound, FileStatus, Settle, partition_of
from shared.remote.local import LocalSession
from shared.remote.session import MORE_IN_MEMORY
from shared.sink_positions import SinkPositions
from tests.fakes.elements import Element, local
from tests.fakes.fetching import PM, Fetching, read


@pytest.fixture
def element(tmp_path: Path) -> Iterator[Element]:
    (tmp_path / "pm").mkdir()
    with local(tmp_path, tmp_path) as served:
        yield served


@pytest.fixture
def parsers() -> Iterator[ParserPool]:
    pool = ParserPool(ParserPoolLimits(processes=1, memory=ParserMemory(memory_mb=200)), shipped())
    yield pool
    pool.close()


def test_a_file_larger_than_the_spool_is_read_in_bounded_memory_here_and_in_its_parser(
    element: Element, parsers: ParserPool, tmp_path: Path
) -> None:
    (tmp_path / "spool").mkdir()
    fetching = Fetching(element, parsers, spool_bytes=1 << 20, spool_directory=str(tmp_path / "spool"))
    small = fetching.file("small.xml")
    large = fetching.file("large.xml", PM.rstrip() + b"\n" * (250 << 20))
    fetching.fetch(small)
    tracemalloc.start()
    fetching.fetch(large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fetching.said_of(large).stage == "parsed", fetching.reason(large)
    assert fetching.said_of(large).values == fetching.said_of(small).values
    assert peak < 8 << 20
    assert list((tmp_path / "spool").iterdir()) == []


def test_small_and_large_files_are_read_alike(element: Element) -> None:
    fetching = Fetching(element, spool_bytes=len(PM))
    files = [fetching.file("small.xml"), fetching.file("large.xml", PM.rstrip() + b"\n" * 1000)]
    assert fetching.fetch(*files, fetching.vanished("gone.xml", size=10_000)) == {
        "small.xml": ["parsed"], "large.xml": ["parsed"], "gone.xml": ["lost"],
    }  # fmt: skip
    assert len({fetching.said_of(file).values for file in files}) == 1


def test_a_file_over_which_the_parser_goes_round_for_ever_ends_in_error_and_its_neighbours_are_parsed(
    element: Element,
) -> None:
    """The profile's pattern tries all ways to split the object's name, twice as many with each letter."""
    endless = Profile(name="endless", end=("Time",), object=("Cell",), period=("Period",), element_pattern="((?:a+)+)$")
    parsers = ParserPool(ParserPoolLimits(processes=2, timeout_s=2), (endless,))
    fetching = Fetching(element, parsers)
    row = "Time;Cell;Period;K\n2020-05-18 16:15;{};15;1\n"
    poison = fetching.file("poison.csv", row.format("a" * 60 + "!").encode())
    good = fetching.file("good.csv", row.format("a" * 60).encode())
    found = fetching.fetch(fetching.file("A.xml"), poison, good, fetching.file("B.xml"))
    parsers.close()
    assert found == {"A.xml": ["parsed"], "poison.csv": ["failed"], "good.csv": ["parsed"], "B.xml": ["parsed"]}
    assert [said.file_id for said in fetching.said][-1] == poison.file_id
    assert len(fetching.done) == 4
    command = Settle(file_id=poison.file_id, to="error", status=fetching.said_of(poison))
    assert fetching.settle(command).stage == "error"
    assert (
        "the parser process died twice on this file: no result after 2 s"
        in (element.pm / "error" / "poison.csv.reason.json").read_text()
    )
    assert not (element.pm / "poison.csv").exists()


def test_a_file_that_takes_long_to_parse_holds_up_none_that_came_with_it(element: Element) -> None:
    def parse(data: bytes | Path, origin: Origin) -> Parsed:
        if origin.file_name == "slow.xml":
            for _ in range(2):
                fetching.ended.get(timeout=30)
        return read(data, origin)

    fetching = Fetching(element, parse)
    files = [fetching.file(name) for name in ("slow.xml", "A.xml", "B.xml")]
    fetching.fetch(*files)
    assert [said.file_id for said in fetching.said][-1] == files[0].file_id
    assert {said.stage for said in fetching.said} == {"parsed"}


def test_a_packed_file_that_ends_too_early_or_shrank_is_left_for_a_later_scan(element: Element) -> None:
    fetching = Fetching(element)
    cut = fetching.file("cut.xml.gz", gzip.compress(PM)[:-20])
    shrank = fetching.file("shrank.xml")
    (element.pm / "shrank.xml").write_bytes(PM[:100])
    assert fetching.fetch(cut, shrank) == {"cut.xml.gz": ["postponed"], "shrank.xml": ["postponed"]}
    assert "ends too early" in fetching.reason(cut)
    assert f"shrank from {len(PM)} to 100 bytes" in fetching.reason(shrank)


@pytest.mark.parametrize(
    ("attempt", "stage", "says"),
    [
        (1, "postponed", "ends too early"),
        (2, "postponed", "(announcement 2)"),
        (3, "failed", "announced 3 times, and its size"),
    ],
)
def test_a_file_that_stays_incomplete_is_given_up(element: Element, attempt: int, stage: str, says: str) -> None:
    fetching = Fetching(element, incomplete_attempts=3)
    for name, content in (("cut.xml.gz", gzip.compress(PM)[:-20]), ("cut.zip", b"PK\x03\x04" + b"x" * 100)):
        file = replace(fetching.file(name, content), attempt=attempt)
        assert fetching.fetch(file) == {name: [stage]}
        assert says in fetching.reason(file)
    shrank = replace(fetching.file("shrank.xml"), attempt=attempt)
    (element.pm / "shrank.xml").write_bytes(PM[:100])
    assert fetching.fetch(shrank) == {"shrank.xml": [stage]}


def test_a_file_that_cannot_be_fetched_says_how_often_it_was_tried_and_is_given_up_late(element: Element) -> None:
    class Busy(LocalSession):
        def read(self, path: bytes, size: int) -> bytes:
            raise Unreachable("450 busy")

    fetching = Fetching(element, connect=lambda *_: Busy())
    file = replace(fetching.file("A.xml"), attempt=99)
    assert fetching.fetch(file) == {"A.xml": ["postponed"]}
    assert fetching.reason(file) == "450 busy (announcement 99)"
    last = replace(fetching.file("B.xml"), attempt=100)
    assert fetching.fetch(last) == {"B.xml": ["failed"]}
    assert fetching.reason(last) == "450 busy; it was announced 100 times"


def test_a_file_without_values_is_parsed_and_every_sink_has_it(element: Element) -> None:
    fetching = Fetching(element)
    file = fetching.file("empty.xml", b"<measCollecFile><measData/></measCollecFile>")
    assert fetching.fetch(file) == {"empty.xml": ["parsed"]}
    said = fetching.said_of(file)
    assert (said.reason, said.values, said.batches, said.last_offset) == ("no values", 0, 0, -1)
    assert SinkPositions().is_stored_in_all({"mysql", "clickhouse"}, said.topic, said.partition, said.last_offset)


def test_a_file_of_which_no_value_can_be_stored_fails_and_says_why_with_the_line(element: Element) -> None:
    fetching = Fetching(element)
    file = fetching.file("reset.xml", PM.replace(b"2000-03-01T14:14:30", b"1970-01-01T00:00:00"))
    assert fetching.fetch(file) == {"reset.xml": ["failed"]}
    assert "bad period: not within the years 1980-2100: '1970-01-01T00:00:00+02:00': line 18" in fetching.reason(file)


def test_a_parser_gets_the_time_zone_of_the_element(element: Element) -> None:
    zones = []

    def parse(data: bytes | Path, origin: Origin) -> Parsed:
        zones.append(origin.zone)
        return read(data, origin)

    fetching = Fetching(element, parse)
    fetching.fetch(fetching.file("A.xml"))
    assert zones == ["UTC"]


@pytest.mark.parametrize("end_s", [-62_135_596_800, 253_402_300_799, 10, 0])
def test_an_implausible_end_in_the_announcement_is_replaced_by_that_of_the_file(element: Element, end_s: int) -> None:
    fetching = Fetching(element)
    file = replace(fetching.file("A.xml"), end_s=end_s)
    fetching.fetch(file)
    assert fetching.said_of(file).end_s == max(CounterBatch.decode(batch).end_s for batch in fetching.batches)


def test_a_path_that_is_announced_twice_is_read_for_each(element: Element) -> None:
    fetching = Fetching(element)
    file = fetching.file("A.xml")
    assert fetching.fetch(file, file) == {"A.xml": ["parsed", "parsed"]}
    assert len(fetching.done) == 2


def test_when_kafka_takes_no_counters_the_file_is_not_parsed_and_when_no_status_it_is_not_done(
    element: Element,
) -> None:
    class Refusing(Fetching):
        def content(self, file: FileFound, blocks: object, batches: object, then: Callable[[Any], None]) -> None:
            then(Unreachable("Kafka did not take a message"))

    fetching = Refusing(element)
    assert fetching.fetch(fetching.file("A.xml")) == {"A.xml": ["postponed"]}

    class Silent(Fetching):
        def answer(self, status: FileStatus, then: Callable[[], None]) -> None:
            if not status.path.endswith("A.xml"):
                super().answer(status, then)

    silent = Silent(element)
    silent.fetch(silent.file("A.xml"), silent.file("B.xml"))
    assert [file.path.rpartition("/")[2] for file in silent.done] == ["B.xml"]


def test_a_file_over_which_the_line_breaks_each_time_is_postponed_alone(element: Element) -> None:
    class Busy(LocalSession):
        def read(self, path: bytes, size: int) -> bytes:
            if path.endswith(b"busy.xml"):
                raise Unreachable("450 busy")
            return super().read(path, size)

    fetching = Fetching(element, connect=lambda *_: Busy())
    names = ["A.xml", "busy.xml", "B.xml", "C.xml"]
    found = fetching.fetch(*(fetching.file(name) for name in names))
    assert found == {name: ["postponed" if name == "busy.xml" else "parsed"] for name in names}


def test_a_spool_that_cannot_be_written_postpones_the_large_file_alone(element: Element, tmp_path: Path) -> None:
    fetching = Fetching(element, spool_bytes=len(PM), spool_directory=str(tmp_path / "nowhere"))
    large = fetching.file("large.xml", PM + b"\n")
    found = fetching.fetch(fetching.file("A.xml"), large)
    assert found == {"A.xml": ["parsed"], "large.xml": ["postponed"]}
    assert "cannot spool to disk" in fetching.reason(large)


def test_values_not_of_the_declared_type_are_reported_and_the_file_lands(
    element: Element, caplog: pytest.LogCaptureFixture
) -> None:
    text = Preprocessing(dictionary=Dictionary(by_counter={"attTCHSeizures": DeclaredType("integer")}))

    def parse(data: bytes | Path, origin: Origin) -> Parsed:
        assert isinstance(data, bytes)
        return read_file(data, origin, preprocessing=text)

    fetching = Fetching(element, parse)
    counted = metrics.MISTYPED.labels("5ga")
    before = counted._value.get()
    with caplog.at_level(logging.WARNING):
        file = fetching.file("A.xml", PM.replace(b">234 ", b">many "))
        assert fetching.fetch(file) == {"A.xml": ["parsed"]}
    assert fetching.reason(file) == "not of the type that the dictionary declares, stored unchanged: 1"
    assert b'"many"' in b"".join(fetching.batches)
    (told,) = [record for record in caplog.records if "declared type" in record.message]
    assert (told.__dict__["most"], told.__dict__["values"]) == (["attTCHSeizures"], 1)
    assert counted._value.get() - before == 1


def test_a_parser_gets_the_aliases_of_the_element(element: Element) -> None:
    def parse(data: bytes | Path, origin: Origin) -> Parsed:
        assert isinstance(data, bytes)
        return read_file(data, origin, preprocessing=Preprocessing(steps=("element-alias",)))

    element.endpoint = replace(element.endpoint, aliases=("RNC-Gbg-1",))
    fetching = Fetching(element, parse)
    fetching.fetch(fetching.file("A.xml"))
    assert {CounterBatch.decode(batch).element for batch in fetching.batches} == {element.endpoint.name}


@pytest.mark.parametrize("spool_bytes", [1 << 24, 10])
@pytest.mark.parametrize("difference", [-200, 500])
def test_a_whole_file_is_parsed_though_its_server_lists_a_wrong_size(
    element: Element, spool_bytes: int, difference: int
) -> None:
    fetching = Fetching(element, spool_bytes=spool_bytes)
    file = replace(fetching.file("A.xml"), size=len(PM) + difference)
    assert fetching.fetch(file) == {"A.xml": ["parsed"]}


@pytest.mark.parametrize("spool_bytes", [1 << 24, 10])
def test_a_file_that_grows_while_it_is_read_is_left_for_a_later_scan(element: Element, spool_bytes: int) -> None:
    class Growing(LocalSession):
        def _copy(self, path: bytes, most: int, out: BinaryIO) -> int:
            with Path(os.fsdecode(path)).open("ab") as file:
                file.write(b" ")
            return super()._copy(path, most, out)

    fetching = Fetching(element, connect=lambda *_: Growing(), spool_bytes=spool_bytes)
    file = fetching.file("A.xml")
    assert fetching.fetch(file) == {"A.xml": ["postponed"]}
    assert "two reads found different content" in fetching.reason(file)


def test_a_file_much_longer_than_listed_goes_to_disk(element: Element) -> None:
    fetching = Fetching(element)
    content = PM + b" " * (MORE_IN_MEMORY + 10)
    file = replace(fetching.file("A.xml", content), size=10)
    assert fetching.fetch(file) == {"A.xml": ["parsed"]}


def test_a_defect_while_an_element_is_read_costs_its_files_a_wait_and_no_process(element: Element) -> None:
    class Defective(LocalSession):
        def read(self, path: bytes, size: int) -> bytes:
            raise KeyError("modify")

    fetching = Fetching(element, connect=lambda *_: Defective())
    file = fetching.file("A.xml")
    assert fetching.fetch(file) == {"A.xml": ["postponed"]}
    assert fetching.reason(file) == "defect: KeyError: 'modify'"


def test_a_file_without_batches_is_published_without_waiting_for_kafka(element: Element) -> None:
    file, outcomes = Fetching(element).file("empty.xml"), SimpleQueue[object]()
    KafkaProducerWorker([]).content(file, [], [], outcomes.put)
    assert outcomes.get(timeout=30) == PublishedBatches("pm.counters.5ga", partition_of("e1"), -1, -1)
