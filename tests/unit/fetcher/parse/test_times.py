"""Times without a zone are in the element's zone at the time that is written; times that cannot be are set aside."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.parse.blocks import shipped
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse.values.period import Period, duration_s, period_of, time_of

ROME = "Europe/Rome"


def utc(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]


def read(text: str, zone: str = ROME, name: str = "pmresult_1_60_a_b.csv", *profiles: Profile) -> Parsed:
    return read_file(
        text.encode(), Origin("4ga", "00000000000000aa", "N1", 7, zone, name), profiles=(*profiles, *shipped())
    )


def ends(parsed: Parsed) -> dict[str, list[Any]]:
    """Returns the end of each period -> the values of its rows."""
    messages = sorted((orjson.loads(batch.value) for batch in parsed.batches), key=lambda message: message["end_s"])
    return {f"{datetime.fromtimestamp(m['end_s'], UTC):%m-%d %H:%MZ}": [row[2] for row in m["rows"]] for m in messages}


def document(*end_times: str, duration: str = "PT900S") -> str:
    infos = "".join(
        f'\n<measInfo measInfoId="G"><granPeriod duration="{duration}" endTime="{end}"/><measType p="1">a</measType>'
        f'<measValue measObjLdn="Cell=1"><r p="1">{at}</r></measValue></measInfo>'
        for at, end in enumerate(end_times, 1)
    )
    return f'<measCollecFile><measData><managedElement localDn="N"/>{infos}</measData></measCollecFile>'


def table(*begins: str) -> str:
    rows = "".join(f"{begin},60,RNC1/Cell:CellID=1,Reliable,{at}\n" for at, begin in enumerate(begins, 1))
    return "Result Time,Granularity Period,Object Name,Reliability,C1\n" + rows


def test_a_time_has_the_offset_of_the_day_on_which_it_is_written() -> None:
    assert ends(read(document("2026-03-28T12:00:00"))) == {"03-28 11:00Z": [1]}
    assert ends(read(document("2026-07-15T12:00:00"))) == {"07-15 10:00Z": [1]}
    assert ends(read(document("2026-01-15T12:00:00"), "Europe/London")) == {"01-15 12:00Z": [1]}
    found = ends(read(document(*(f"2026-03-29T{hour}:00:00" for hour in ("01", "03", "04")), duration="PT3600S")))
    assert found == {"03-29 00:00Z": [1], "03-29 01:00Z": [2], "03-29 02:00Z": [3]}


def test_an_hour_that_does_not_exist_has_the_offset_before_the_change() -> None:
    assert ends(read(document("2026-03-29T02:00:00"))) == {"03-29 01:00Z": [1]}
    assert time_of("2026-03-29T02:30:00", ROME) == (utc(2026, 3, 29, 1, 30), 60)


def test_an_hour_that_comes_twice_is_the_first_unless_it_is_marked() -> None:
    assert time_of("2026-10-25T02:30:00", ROME) == (utc(2026, 10, 25, 0, 30), 120)
    assert time_of("2026-10-25T02:30:00 DST", ROME) == (utc(2026, 10, 25, 0, 30), 120)
    assert time_of("2026-10-25T02:30:00 STD", ROME) == (utc(2026, 10, 25, 1, 30), 60)
    assert time_of("2026-04-05T01:45:00", "Australia/Lord_Howe") == (utc(2026, 4, 4, 14, 45), 660)
    assert time_of("2026-04-05T01:45:00 STD", "Australia/Lord_Howe") == (utc(2026, 4, 4, 15, 15), 630)


def test_huaweis_mark_makes_two_periods_of_the_hour() -> None:
    begins = ["2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00 DST", "2026-10-25 02:00", "2026-10-25 03:00"]
    assert ends(read(table(*begins))) == {
        "10-24 23:00Z": [1], "10-25 00:00Z": [2], "10-25 01:00Z": [3], "10-25 02:00Z": [4], "10-25 03:00Z": [5],
    }  # fmt: skip
    assert ends(read(table("2026-10-25 02:00 DST"))) == {"10-25 01:00Z": [1]}
    assert ends(read(table("2026-10-25 02:00(DST)"))) == {"10-25 01:00Z": [1]}
    assert ends(read(table("2026-10-25 02:00"))) == {"10-25 02:00Z": [1]}
    assert ends(read(table("2026-07-01 12:00", "2026-07-01 12:00 DST"))) == {"07-01 11:00Z": [1]}


def test_begin_and_length_may_show_which_of_the_two_hours_an_end_is_in() -> None:
    header = "Begin Time,End Time,Granularity,ManagedElement ID,C1\n"
    rows = [("02:30", "02:45"), ("02:45", "02:00"), ("01:45", "02:00"), ("02:45", "03:00")]
    text = header + "".join(f"2026-10-25 {a}:00,2026-10-25 {b}:00,15,1,{at}\n" for at, (a, b) in enumerate(rows))
    assert ends(read(text)) == {"10-25 00:00Z": [2], "10-25 00:45Z": [0], "10-25 01:00Z": [1], "10-25 02:00Z": [3]}


def test_the_length_between_begin_and_end_is_that_of_the_clock_not_of_the_wall() -> None:
    assert period_of("2026-03-29T00:00", "2026-03-29T04:00", "", ROME) == Period(utc(2026, 3, 29, 2), 3 * 3600, 120)
    with pytest.raises(ValueError, match="positive"):
        period_of("2026-03-29T04:00", "2026-03-29T04:00", "", ROME)


@pytest.mark.parametrize(
    "end",
    [
        "0001-01-01T00:00:00+01:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-05:00", "9999-12-31T24:00:00Z",
        "1970-01-01T00:00:00+02:00", "1979-12-31T23:59:59Z", "1980-01-01T00:00:00+01:00", "2101-01-01T00:00:00Z",
        "2601-03-13T15:00:00", "0000-00-00T00:00:00", "260103131500", "202605181600", "2026-05-18T16:00:00+25:00",
        "2026-05-18T16:00:00+01:60",
    ],
)  # fmt: skip
def test_a_time_that_cannot_be_costs_its_measinfo_and_is_told_with_its_line(end: str) -> None:
    parsed = read(document("2026-05-18T16:00:00Z", end, "2026-05-18T16:15:00Z"))
    assert ends(parsed) == {"05-18 16:00Z": [1], "05-18 16:15Z": [3]}
    assert parsed.counts.reasons == {"bad period": 1}
    (detail,) = (orjson.loads(block.detail) for block in parsed.quarantined)
    assert (detail["line"], end in detail["why"], detail["why"].endswith(": line 3")) == (3, True, True)
    assert parsed.notes == [f"bad period: {detail['why']}"]


@pytest.mark.parametrize("end", ["1980-01-01T00:00:00Z", "2100-12-31T23:59:59Z", "2026-05-18T16:00:00-12:00"])
def test_any_other_time_is_taken(end: str) -> None:
    assert len(ends(read(document(end)))) == 1


def test_a_two_digit_year_is_no_time_in_any_dialect() -> None:
    mdc = "<mdc><mfh/><md>\n<mi><mts>{}</mts><gp>900</gp><mt>a</mt><mv><moid>X=1</moid><r>1</r></mv></mi></md></mdc>"
    parsed = read(mdc.format("260103131500"))
    assert (parsed.batches, parsed.notes) == ([], ["bad period: not a time: '260103131500': line 2"])
    assert ends(read(mdc.format("20260103131500Z"))) == {"01-03 13:15Z": [1]}
    parsed = read(table("260103131500", "2026-01-03 13:00"), "UTC")
    assert (ends(parsed), parsed.counts.reasons) == ({"01-03 14:00Z": [2]}, {"bad period": 1})
    assert parsed.notes == ["bad period: not a time: '260103131500': line 2"]
    (detail,) = (orjson.loads(block.detail) for block in parsed.quarantined)
    assert detail["begin"] == "260103131500"


def test_a_begin_may_lead_to_an_end_that_cannot_be() -> None:
    omes = (
        '<OMeS><PMSetup startTime="2100-12-31T23:45:00.000+00:00" interval="15"><PMMOResult><MO><DN>A-1</DN></MO>'
        '<T measurementType="L"><M1>1</M1></T></PMMOResult></PMSetup></OMeS>'
    )
    parsed = read(omes)
    assert (parsed.counts.reasons, parsed.batches) == ({"bad period": 1}, [])


@pytest.mark.parametrize("text", ["P367D", "999999999", "PT999999999H", "P999999999W"])
def test_a_period_of_more_than_a_year_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"longer than 366 days|not a duration"):
        duration_s(text)


stamps = st.integers(315_532_800, 4_133_980_799)


@given(stamps, st.sampled_from((ROME, "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca")))
def test_what_a_zone_writes_is_read_back_with_at_most_the_shift_of_the_change(stamp: int, zone: str) -> None:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - beside its only use

    written = datetime.fromtimestamp(stamp, ZoneInfo(zone))
    found, offset_min = time_of(f"{written:%Y-%m-%dT%H:%M:%S}", zone)
    if written.replace(fold=1 - written.fold).utcoffset() == written.utcoffset():
        assert (found, offset_min * 60) == (stamp, written.utcoffset().total_seconds())  # type: ignore[union-attr]
    else:
        assert abs(found - stamp) <= 3600


@given(st.text("0123456789-+:TZ ./,DSWPMH", max_size=30), st.sampled_from(("UTC", ROME)))
def test_any_text_is_a_plausible_time_or_none(text: str, zone: str) -> None:
    try:
        found, offset_min = time_of(text, zone)
    except ValueError:
        return
    assert 315_532_800 <= found < 4_133_980_800
    assert -1440 < offset_min < 1440


def test_an_error_shows_only_the_beginning_of_a_long_text() -> None:
    parsed = read(document("2026-05-18T16:00:00Z", "x" * 100_000))
    assert ends(parsed) == {"05-18 16:00Z": [1]}
    assert len(parsed.notes[0]) < 200
