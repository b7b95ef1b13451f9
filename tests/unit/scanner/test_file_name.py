from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scanner.file_name import element_of, parse_file_name


@pytest.mark.parametrize(
    ("name", "element"),
    [
        (b"A20230515.0700_0100-0715_0100_GNODEB-0.xml", "GNODEB-0"),
        (b"A20181002.0000-1000-0015-1000_5G.xml.gz", "5G"),
        (b"A20220418.1900-1915_seliitdus00487.xml", "seliitdus00487"),
        (b"A20000626.2315+0200-2330+0200_NodeBId.xml", "NodeBId"),
        (b"B20021224.1700-1705_-job1_NodeBId_-_2", "NodeBId"),
        (b"A20261231.2345+0000-20270101.0000+0000_a.b-c_d.xml.gz", "a.b-c_d"),
        (b"D20021224.1700+1130-20021224.1705+1130_-12_SubNetwork=1,NodeB=2.xml.gz", "SubNetwork=1,NodeB=2"),
        (b"C20190328.0000-0015.xml", "host"),
        (b"A1.xml", "host"),
        (b"A20230515.0700_0100-0715_0100_\xff.xml", "\ufffd"),
        (b"", "host"),
    ],
)
def test_the_unique_id_of_the_name_is_the_element(name: bytes, element: str) -> None:
    assert element_of(name, otherwise="host") == element


@pytest.mark.parametrize(
    ("name", "begin", "end"),
    [
        (b"A20230515.0700_0100-0715_0100_GNODEB-0.xml", "2023-05-15T06:00", "2023-05-15T06:15"),
        (b"A20181002.0000-1000-0015-1000_5G.xml.gz", "2018-10-02T10:00", "2018-10-02T10:15"),
        (b"A20000626.2315+0200-2330+0200_NodeBId", "2000-06-26T21:15", "2000-06-26T21:30"),
        (b"A20261231.2345+0000-20270101.0000+0000_e.xml.gz", "2026-12-31T23:45", "2027-01-01T00:00"),
        (b"A20261231.2345-0000_e.xml", "2026-12-31T23:45", "2027-01-01T00:00"),
        (b"C20190328.0000-0015.xml", "2019-03-28T00:00", "2019-03-28T00:15"),
        (b"B20021224.1700-1705_-job1_NodeBId_-_2", "2002-12-24T17:00", "2002-12-24T17:05"),
    ],
)
def test_the_period_is_known_before_the_file_is_fetched(name: bytes, begin: str, end: str) -> None:
    found = parse_file_name(name)
    assert found is not None
    assert (found.begin, found.end) == tuple(datetime.fromisoformat(t).replace(tzinfo=UTC) for t in (begin, end))


def test_times_without_a_zone_are_in_the_zone_of_the_element() -> None:
    found = parse_file_name(b"A20230715.0700-0715_e.xml", ZoneInfo("Europe/Rome"))
    assert found is not None
    assert found.end_s == int(datetime(2023, 7, 15, 5, 15, tzinfo=UTC).timestamp())


def test_job_and_running_count_are_not_part_of_the_unique_id() -> None:
    found = parse_file_name(b"D20021224.1700-1705_-12_SubNetwork=1,NodeB=2_-_3.xml.gz")
    assert found is not None
    assert (found.type, found.job, found.unique_id, found.count) == ("D", "12", "SubNetwork=1,NodeB=2", 3)


@pytest.mark.parametrize("name", [b"A1.xml", b"A20231315.0700-0715_e.xml", b"E20230515.0700-0715_e.xml", b"", b"\xff"])
def test_other_names_are_not_parsed(name: bytes) -> None:
    assert parse_file_name(name) is None


@given(name=st.binary(max_size=80))
def test_every_name_gives_some_element(name: bytes) -> None:
    assert element_of(name, otherwise="host") or name
