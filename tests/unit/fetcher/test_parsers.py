"""Files are parsed in processes: a file that kills or blocks one fails, and the other files are not delayed."""

import logging
import os
import pickle
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import orjson
import pytest

from services.fetcher.assemble.batches import RAW, read_file
from services.fetcher.assemble.result import Origin
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.blocks import shipped
from services.fetcher.parse.unpack import Incomplete
from services.fetcher.parse_pool.child import ParseRequest, ParserMemory, parse_request
from services.fetcher.parse_pool.defect import ParserDefect
from services.fetcher.parse_pool.memory import MemoryBudget
from services.fetcher.parse_pool.pool import ParserPool, ParserPoolLimits
from shared import metrics
from shared.errors import Hopeless

SAMPLES = sorted((Path(__file__).parents[2] / "data" / "samples").glob("*.xml*"))
GOOD = SAMPLES[0].read_bytes()
ORIGIN = Origin(system="5ga", file_id="0123456789abcdef", element="gnb-1", ver=1)


@pytest.fixture
def parsers() -> Iterator[ParserPool]:
    pool = ParserPool(ParserPoolLimits(processes=1, timeout_s=60), shipped())
    yield pool
    pool.close()


def pid(parsers: ParserPool) -> int:
    """Returns the process id of the pool's only process, which is idle."""
    process = parsers.idle.get()
    parsers.idle.put(process)
    assert process
    return process.child.pid


def stalled(parsers: ParserPool) -> None:
    """Stops the pool's process, so that it does not read any more, as in an endless loop."""
    parsers(GOOD, ORIGIN)
    os.kill(pid(parsers), signal.SIGSTOP)


def test_a_file_is_read_as_in_the_own_process(parsers: ParserPool) -> None:
    with ThreadPoolExecutor(4) as threads:
        datas = [sample.read_bytes() for sample in SAMPLES]
        found = list(threads.map(lambda data: parsers(data, ORIGIN), datas))
    assert found == [read_file(data, ORIGIN) for data in datas]


def test_its_errors_are_those_of_the_own_process(parsers: ParserPool) -> None:
    with pytest.raises(BadFile, match="line 1") as caught:
        parsers(b"<mdc><md>", ORIGIN)
    assert (caught.value.line, caught.value.column) == (1, 10)
    with pytest.raises(Incomplete):
        parsers(b"\x1f\x8b\x08\0\0\0\0\0", ORIGIN)


def test_a_parser_that_was_killed_while_idle_is_replaced(parsers: ParserPool) -> None:
    first = parsers(GOOD, ORIGIN)
    for _ in range(3):
        os.kill(pid(parsers), signal.SIGKILL)
        assert parsers(GOOD, ORIGIN) == first


def test_a_parser_that_is_killed_over_a_file_tries_it_once_more(parsers: ParserPool) -> None:
    stalled(parsers)
    killer = Thread(target=os.kill, args=(pid(parsers), signal.SIGKILL))
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(parsers, GOOD, ORIGIN)
        killer.start()
        assert answer.result() == read_file(GOOD, ORIGIN)


def test_a_file_that_takes_too_long_fails_and_the_next_is_parsed() -> None:
    pool = ParserPool(ParserPoolLimits(processes=1, timeout_s=0.001), shipped())
    with pytest.raises(Hopeless, match="the parser process died twice on this file: no result after"):
        pool(GOOD, ORIGIN)
    pool.limits = ParserPoolLimits(processes=1)
    assert pool(GOOD, ORIGIN).counts.values
    pool.close()


def test_a_file_that_takes_too_much_memory_fails_and_the_next_is_parsed() -> None:
    pool = ParserPool(ParserPoolLimits(processes=1, memory=ParserMemory(memory_mb=200)), shipped())
    with pytest.raises(Hopeless, match=r"memory|the parser process died"):
        pool(b"".join(many(rows=250_000)), ORIGIN)
    assert pool(GOOD, ORIGIN).counts.values
    pool.close()


def many(rows: int) -> Iterator[bytes]:
    """Returns a file of one measInfo whose messages are about as large as the file."""
    yield b"<mdc><mfh/><md><mi><mts>20200518160000Z</mts><gp>900</gp><mt>a</mt>"
    for first in range(0, rows, 1000):
        yield b"".join(
            b"<mv><moid>C=%d</moid><r>t%d%s</r></mv>" % (at, at, b"x" * 1000) for at in range(first, first + 1000)
        )
    yield b"</mi></md></mdc>"


def test_a_file_whose_messages_are_more_than_memory_comes_by_the_disk(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    large = tmp_path / "large.xml"
    with large.open("wb") as out:
        out.writelines(many(rows=200_000))
    room = ParserMemory(memory_mb=160, held_mb=8, spool_directory=str(tmp_path / "spool"))
    pool = ParserPool(ParserPoolLimits(processes=1, memory=room), shipped())
    found = pool(large, ORIGIN)
    pool.close()
    assert found.spooled
    assert (found.counts.rows, found.counts.values) == (200_000, 200_000)
    objects = [row[0] for batch in found.batches for row in orjson.loads(batch.value)["rows"]]
    assert objects == [f"C={at}" for at in range(200_000)]
    assert list((tmp_path / "spool").iterdir()) == []
    found.close()


def test_a_file_waits_until_there_is_room_for_it() -> None:
    budget, entered, leave = MemoryBudget(100), Event(), Event()

    def hold() -> None:
        with budget.take(60):
            entered.set()
            leave.wait(30)

    def follow() -> int:
        with budget.take(1000):
            return budget.taken

    with ThreadPoolExecutor(2) as threads:
        threads.submit(hold)
        entered.wait(30)
        with budget.take(40):
            assert budget.taken == 100
        large = threads.submit(follow)
        leave.set()
        assert large.result(30) == 100
    assert budget.taken == 0


UNKNOWN_ZONE = replace(ORIGIN, zone="No/Where")
"""An origin that no parser can use for a time without a zone: an error that nobody planned for."""
WITHOUT_ZONE = b"".join(many(rows=1)).replace(b"160000Z", b"160000")


def test_a_defect_of_the_parser_costs_only_its_file_and_is_logged_with_its_traceback(
    parsers: ParserPool, caplog: pytest.LogCaptureFixture
) -> None:
    good = parsers(GOOD, ORIGIN)
    first = pid(parsers)
    before = metrics.DEFECTS._value.get()
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(Hopeless, match=r"^defect: ZoneInfoNotFoundError: 'No time zone found with key No/Where'"),
    ):
        parsers(WITHOUT_ZONE, UNKNOWN_ZONE)
    tries = [record for record in caplog.records if record.message == "parser failed on a file"]
    assert len(tries) == 2
    assert "period.py" in tries[0].__dict__["traceback"]
    assert [record.levelname for record in caplog.records][-1] == "ERROR"
    assert metrics.DEFECTS._value.get() == before + 1
    assert parsers(GOOD, ORIGIN) == good
    assert pid(parsers) != first  # a process in which something unexpected happened is not used again


def test_an_unplanned_error_is_passed_on_as_text_whatever_it_holds() -> None:
    found = parse_request(ParseRequest(WITHOUT_ZONE, UNKNOWN_ZONE, shipped(), None), RAW, ParserMemory())
    assert isinstance(found, ParserDefect)
    again = pickle.loads(pickle.dumps(found))
    assert (again.what, again.traceback) == (found.what, found.traceback)
