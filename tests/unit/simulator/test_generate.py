"""A plain XML reader finds exactly the true values in a generated file."""

import gzip
from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scanner.file_name import element_of
from tools.simulator.families import LTE, NR, Family, measurement_group
from tools.simulator.generate import LARGEST, ZONES, PmFile, Shape, file_name, pm_file
from tools.simulator.truth_row import TruthRow, Value

NS = "{http://www.3gpp.org/ftp/specs/archive/32_series/32.435#measCollec}"
END_S = 1_795_526_100  # 2026-11-24 13:15 UTC
SYSTEMS = st.sampled_from(["4ga", "5ga"])
SHAPES = st.builds(
    Shape,
    seed=st.integers(0, 2**40),
    cells=st.integers(1, 4),
    groups=st.integers(1, 7),
    counters=st.integers(1, 40),
    gp_s=st.sampled_from([60, 300, 900, 3600]),
)


def read(xml: bytes, system: str) -> list[TruthRow]:
    """Reads the rows with ElementTree, independently of the generator."""
    root = ET.fromstring(xml)
    header, element = root.find(f"{NS}fileHeader"), root.find(f".//{NS}managedElement")
    assert header is not None
    assert element is not None
    name = f"{header.attrib['dnPrefix']},{element.attrib['localDn']}"
    return [
        TruthRow(
            system=system,
            element=name,
            group=info.attrib["measInfoId"],
            object=row.attrib["measObjLdn"],
            end_s=round(datetime.fromisoformat(_find(info, "granPeriod").attrib["endTime"]).timestamp()),
            gp_s=int(_find(info, "granPeriod").attrib["duration"][2:-1]),
            suspect=row.findtext(f"{NS}suspect") == "true",
            values=_compact(info, row) if info.find(f"{NS}measTypes") is not None else _expanded(info, row),
        )
        for info in root.iter(f"{NS}measInfo")
        for row in info.iter(f"{NS}measValue")
    ]


def _find(node: Any, name: str) -> Any:
    found = node.find(f"{NS}{name}")
    assert found is not None
    return found


def _compact(info: Any, row: Any) -> dict[str, Value]:
    names, texts = (_find(node, of).text.split() for node, of in ((info, "measTypes"), (row, "measResults")))
    return {name: None if text == "NIL" else text for name, text in zip(names, texts, strict=True)}


def _expanded(info: Any, row: Any) -> dict[str, Value]:
    names = {node.attrib["p"]: node.text for node in info.iter(f"{NS}measType")}
    return {names[node.attrib["p"]]: _value(node.text) for node in row.iter(f"{NS}r")}


def _value(text: str) -> Value:
    if "," in text:
        return [part or None for part in text.split(",")]
    return text.strip() or None


@given(shape=SHAPES, system=SYSTEMS, element=st.integers(1, 50), cycle=st.integers(0, 400))
def test_a_plain_reader_finds_exactly_the_truth(shape: Shape, system: str, element: int, cycle: int) -> None:
    made = pm_file(shape, system, f"{system}-{element:03}", END_S + cycle * shape.gp_s)
    assert read(made.xml, system) == made.rows
    assert len(made.rows) == shape.groups * shape.cells
    assert {len(row.values) for row in made.rows} == {shape.counters}


@given(shape=SHAPES, system=SYSTEMS)
def test_the_same_parameters_give_the_same_bytes_and_another_seed_gives_others(shape: Shape, system: str) -> None:
    made = pm_file(shape, system, "e", END_S)
    assert pm_file(shape, system, "e", END_S) == made
    assert pm_file(shape, system, "e", END_S).packed == made.packed
    assert gzip.decompress(made.packed) == made.xml
    other = Shape(seed=shape.seed + 1, cells=4, groups=2, counters=40)
    assert pm_file(other, system, "e", END_S).xml != made.xml


def test_a_value_depends_on_nothing_but_seed_element_and_period() -> None:
    """Other elements and cycles can be added and removed without changing the true values."""
    shape = Shape()
    texts = {
        pm_file(shape, "4ga", element, end_s).xml
        for element in ("4ga-001", "4ga-002")
        for end_s in (END_S, END_S + 900)
    }
    assert len(texts) == 4


@pytest.fixture(scope="module")
def many() -> dict[str, list[PmFile]]:
    shape = Shape(cells=6, groups=4, counters=60)
    return {system: [pm_file(shape, system, f"{system}-{n:03}", END_S) for n in range(12)] for system in ("4ga", "5ga")}


@pytest.mark.parametrize("system", ["4ga", "5ga"])
def test_files_look_like_real_ones(many: dict[str, list[PmFile]], system: str) -> None:
    rows = [row for made in many[system] for row in made.rows]
    scalars = [value for row in rows for value in row.values.values() if not isinstance(value, list)]
    share = {what: n / len(scalars) for what, n in Counter(map(_kind, scalars)).items()}
    assert 0.7 < share["zero"] < 0.9
    assert 0.01 < share["missing"] < 0.04
    assert share["decimal"] > 0.01
    assert share["large"] > 0.001
    assert 0 < sum(row.suspect for row in rows) / len(rows) < 0.06
    assert max(int(value) for value in scalars if value and "." not in value) <= LARGEST


def _kind(value: Value) -> str:
    match value:
        case None:
            return "missing"
        case "0":
            return "zero"
        case str() if "." in value:
            return "decimal"
        case str() if int(value) > 2**52:
            return "large"
    return "number"


def test_one_in_seven_counters_of_5g_is_a_vector_and_none_of_4g(many: dict[str, list[PmFile]]) -> None:
    def vectors(system: str) -> list[list[str | None]]:
        rows = (row for made in many[system] for row in made.rows)
        return [value for row in rows for value in row.values.values() if isinstance(value, list)]

    values = sum(len(row.values) for made in many["5ga"] for row in made.rows)
    assert 0.12 < len(vectors("5ga")) / values < 0.16
    assert any(None in vector for vector in vectors("5ga"))
    assert all(vector[0] is not None for vector in vectors("5ga"))
    assert vectors("4ga") == []


@pytest.mark.parametrize("family", [LTE, NR])
def test_any_number_of_groups_and_counters_has_names_of_its_own(family: Family) -> None:
    """The names differ also when compared without regard to case, as MySQL compares names of columns and tables."""
    groups = [measurement_group(family, number, 1500) for number in range(30)]
    assert len({found.name.lower() for found in groups}) == 30
    for found in groups:
        assert len({counter.lower() for counter in found.counters}) == 1500


def test_objects_are_named_below_their_element(many: dict[str, list[PmFile]]) -> None:
    row = many["5ga"][2].rows[1]
    assert row.element == "DC=operator.example,SubNetwork=5ga,5ga-002"
    assert row.object == "ManagedElement=5ga-002,GNBDUFunction=1,NRCellDU=2"
    assert row.group == "NRCellDU"


def test_elements_write_times_in_different_ways_and_each_always_in_the_same() -> None:
    elements = [f"5ga-{n:03}" for n in range(40)]

    def ending(element: str, end_s: int) -> str:
        return pm_file(Shape(), "5ga", element, end_s).xml.split(b'beginTime="')[1].split(b'"')[0].decode()[19:]

    assert {ending(element, END_S) for element in elements} == {zone for _, zone in ZONES}
    for element in elements:
        assert ending(element, END_S) == ending(element, END_S + 900)


@pytest.mark.parametrize(
    ("end_s", "gp_s", "zone_min", "name"),
    [
        (END_S, 900, 60, "A20261124.1400+0100-1415+0100_5ga-001.xml.gz"),
        (END_S, 900, 0, "A20261124.1300+0000-1315+0000_5ga-001.xml.gz"),
        (END_S, 300, -300, "A20261124.0810-0500-0815-0500_5ga-001.xml.gz"),
        (1_795_478_400, 900, 0, "A20261123.2345+0000-20261124.0000+0000_5ga-001.xml.gz"),
    ],
)
def test_a_file_is_named_by_element_and_period_in_the_time_of_the_element(
    end_s: int, gp_s: int, zone_min: int, name: str
) -> None:
    assert file_name("5ga-001", end_s, gp_s, zone_min) == name
    assert element_of(name.encode(), "") == "5ga-001"


@given(element=st.integers(1, 50), cycle=st.integers(0, 200))
def test_the_name_tells_the_begin_that_the_file_tells(element: int, cycle: int) -> None:
    made = pm_file(Shape(counters=1), "5ga", f"5ga-{element:03}", END_S + cycle * 900)
    begin = datetime.fromisoformat(next(ET.fromstring(made.xml).iter(f"{NS}measCollec")).attrib["beginTime"])
    assert made.name.startswith(f"A{begin:%Y%m%d.%H%M%z}-")


def test_the_files_of_a_day_have_names_of_their_own() -> None:
    names = [pm_file(Shape(counters=1), "5ga", "5ga-001", END_S + n * 900).name for n in range(97)]
    assert len(set(names)) == 97
    assert all(before[:9] <= after[:9] for before, after in pairwise(names))


@pytest.mark.parametrize("wrong", [{"cells": 0}, {"counters": -1}, {"gp_s": 0}, {"gp_s": 90}])
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|whole minutes"):
        Shape(**wrong)
