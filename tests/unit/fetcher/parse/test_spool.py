"""Texts that do not fit into memory are on disk until their file is complete, and the result is the same."""

import gc
from array import array
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.fetcher.assemble.batches import RAW, gather
from services.fetcher.assemble.merge import merged
from services.fetcher.assemble.result import Parsed
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.blocks import read_blocks
from services.fetcher.preprocess.steps import Preprocessing
from services.fetcher.rows.held import CounterColumns, Rows
from services.fetcher.rows.spool import Spool, SpooledText, text_of
from shared.errors import Unreachable
from tests.unit.fetcher.parse.documents import documents
from tests.unit.fetcher.parse.reading import ORIGIN, cut
from tests.unit.fetcher.parse.test_safety import WHOLE

WITH_STEPS = Preprocessing(
    steps=("missing-tokens", "rename-counters"), missing=(b"0", b'"up"'), renames={"pm1": "pm2", "pm3": "other"}
)


def test_texts_are_in_memory_as_long_as_there_is_room_and_on_disk_then(tmp_path: Path) -> None:
    spool = Spool(10, str(tmp_path))
    held = [spool.put(text) for text in (b"12345", b"678901", b"23456", b"7")]
    assert [isinstance(one, SpooledText) for one in held] == [False, True, False, True]
    assert [text_of(one) for one in held] == [b"12345", b"678901", b"23456", b"7"]
    spool.release(held[0])
    assert isinstance(spool.put(b"54321"), bytes)
    assert list(tmp_path.iterdir()) == []  # it has no name, so nobody need clear away behind a process that was killed
    spool.close()


def test_a_directory_that_takes_no_file_is_a_temporary_problem() -> None:
    with pytest.raises(Unreachable, match="cannot spool to disk"):
        Spool(0, "/nowhere").put(b"1")


def said(parsed: Parsed) -> object:
    """Returns the whole result, wherever its texts are held."""
    batches = [(batch.value, batch.group, batch.end_s, batch.rows, batch.values) for batch in parsed.batches]
    return batches, [(block.detail, block.reason, block.values) for block in parsed.quarantined], parsed.counts


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), st.sampled_from((0, 100, 1000)), st.sampled_from((RAW, WITH_STEPS)))
def test_a_file_is_read_alike_however_little_memory_there_is(
    text: str, memory_bytes: int, preprocessing: Preprocessing
) -> None:
    try:
        expected = gather(read_blocks([text.encode()]), ORIGIN, preprocessing=preprocessing)
    except BadFile:
        return
    parsed = gather(read_blocks([text.encode()]), ORIGIN, preprocessing=preprocessing, spool=Spool(memory_bytes))
    assert said(parsed) == said(expected)
    parsed.close()


def test_of_a_file_that_is_refused_nothing_stays_open() -> None:
    with pytest.raises(BadFile):
        gather(read_blocks(cut(WHOLE[:-5].encode(), 100), piece=64), ORIGIN, spool=Spool(0))
    gc.collect()  # an open file would be a warning, and that an error


def test_a_large_table_is_merged_in_turns_as_at_once() -> None:
    def part(counter: str, *values: int) -> tuple[CounterColumns, Rows]:
        lines = [orjson.dumps([f"C={at}", 0, value]) for at, value in enumerate(values)]
        return CounterColumns("j", (counter,)), Rows(b",\n".join(lines), len(lines), len(lines), array("q"))

    parts = [part("a", *range(100)), part("b", *range(100)), part("a", *[5] * 100)]
    (whole,) = merged(parts)
    turns = list(merged(parts, turn_bytes=300))
    assert len(turns) > 10

    def lines(*results: object) -> list[bytes]:
        return sorted(line for one in results for _, rows in one.parts for line in rows.text.split(b",\n"))  # type: ignore[attr-defined]

    assert lines(*turns) == lines(whole)
    assert sum(one.duplicates for one in turns) == whole.duplicates == 1
    assert sum(len(one.conflicts) for one in turns) == len(whole.conflicts) == 99
