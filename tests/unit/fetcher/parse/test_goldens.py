"""The real samples give exactly the golden rows, by the lane, by expat alone and by the reference reader."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.fetcher.assemble.batches import gather, read_file
from services.fetcher.assemble.result import Origin
from services.fetcher.parse.blocks import read_blocks
from tests import reference
from tests.unit.fetcher.parse.reading import Row, cut, rows, without_nulls

SAMPLES = sorted((reference.DATA / "samples").glob("*.xml*"))


def origin(sample: Path) -> Origin:
    return Origin(system="5ga", file_id="0123456789abcdef", element=sample.name, ver=1)


def golden(sample: Path) -> Iterator[Row]:
    with (reference.DATA / "golden" / f"{sample.name}.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_sample_gives_its_golden_rows(sample: Path) -> None:
    parsed = read_file(cut(sample.read_bytes(), 1000), origin(sample))
    expected = without_nulls(golden(sample))
    assert without_nulls(rows(parsed)) == expected
    assert parsed.counts.rows == len(expected)
    assert parsed.counts.values == sum(len(row["values"]) for row in expected)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_expat_alone_gives_the_same_messages(sample: Path) -> None:
    alone = gather(read_blocks([reference.document(sample)], fast=False), origin(sample))
    assert alone == read_file(sample.read_bytes(), origin(sample))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_golden_rows_are_what_the_reference_reads(sample: Path) -> None:
    assert [json.loads(line) for line in reference.golden_lines(sample).splitlines()] == list(golden(sample))


def test_all_values_of_the_ericsson_file_are_there() -> None:
    (sample,) = (sample for sample in SAMPLES if "GNODEB-0" in sample.name)
    counts = read_file(sample.read_bytes(), origin(sample)).counts
    assert (counts.values, counts.quarantined, counts.dropped) == (2667, 0, 0)
