"""Vendors' tables are read by the profile their header fits: every cell, in its period, under its object."""

from pathlib import Path

import orjson
import pytest

from services.fetcher.batches import Origin, Parsed, read_file
from services.fetcher.parse import profile
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.profile import Profile
from shared.messages import CounterBatch
from shared.settings import BadSettings

HUAWEI = (
    "Result Time,Granularity Period,Object Name,Reliability,1526726657,1526726658,1526726659\r\n"
    ",Minutes,,,times,,ms\r\n"
    '2020-05-18 16:00,15,"NODEB1/Cell:eNodeB Function Name=NODEB1, Local Cell ID=1",Reliable,12,0.5,NIL\r\n'
    '2020-05-18 16:00,15,"NODEB1/Cell:eNodeB Function Name=NODEB1, Local Cell ID=2",Unreliable,7,/0,\r\n'
    '2020-05-18 16:15 DST,15,"NODEB2/Cell:Local Cell ID=1",Reliable,1,2,3\r\n'
)
ZTE = (
    "4G PM export\n"
    "Index;Begin Time;End Time;Granularity;SubNetwork ID;ManagedElement ID;Cell ID;RRC tries(C373200001);C373200002\n"
    "1;2020-05-18 16:00:00;2020-05-18 16:15:00;15 Minute(s);12;4711;1;5;--\n"
    "2;2020-05-18 16:00:00;2020-05-18 16:15:00;15 Minute(s);12;4711;2;6;7\n"
)
SAMSUNG = (
    "Time\tNE Name\tFamily\tLocation\tConnEstabAtt\tConnEstabSucc\t\n"
    "2020-05-18T16:15:00+09:00\teNB_1\tRRC\tcNum0\t5\t4\t\n"
    "2020-05-18T16:15:00+09:00\teNB_1\tHO\tcNum0\t3\tNull\t\n"
)
END_S = 1589818500  # 2020-05-18 16:15 UTC


def read(text: str, name: str = "", *profiles: Profile, zone_offset_min: int = 0, chunk: int = 1 << 16) -> Parsed:
    origin = Origin("4ga", "00000000000000aa", "by-name", 7, zone_offset_min, name)
    data = text.encode()
    cut = (data[at : at + chunk] for at in range(0, len(data), chunk))
    return read_file(cut, origin, profiles=profiles or None)


def rows(parsed: Parsed) -> list[tuple[object, ...]]:
    found = [CounterBatch.decode(batch.value) for batch in parsed.batches]
    return [
        (m.element, m.group, row[0], m.end_s, m.gp_s, row[1], dict(zip(m.counters, row[2:], strict=True)))
        for m in found
        for row in m.rows
    ]


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
def test_huaweis_results(chunk: int) -> None:
    parsed = read(HUAWEI, "pmresult_1526726656_15_202005181600_202005181615.csv", chunk=chunk)
    a, b, c = "1526726657", "1526726658", "1526726659"
    first = "NODEB1/Cell:eNodeB Function Name=NODEB1, Local Cell ID="
    assert rows(parsed) == [
        ("NODEB1", "1526726656", f"{first}1", END_S, 900, 0, {a: 12, b: 0.5, c: None}),
        ("NODEB1", "1526726656", f"{first}2", END_S, 900, 1, {a: 7, b: None, c: None}),
        ("NODEB2", "1526726656", "NODEB2/Cell:Local Cell ID=1", END_S + 900, 900, 0, {a: 1, b: 2, c: 3}),
    ]
    assert (parsed.counts.values, parsed.counts.nulls) == (6, 3)


def test_the_group_is_the_objects_class_where_the_files_name_does_not_tell() -> None:
    assert {row[1] for row in rows(read(HUAWEI))} == {"Cell"}


def test_ztes_results() -> None:
    named = {"RRC tries(C373200001)": 5, "C373200002": None}
    assert rows(read(ZTE, "EUtranCell_20200518161500.csv"))[0] == (
        "4711",
        "EUtranCell",
        "SubNetwork ID=12,ManagedElement ID=4711,Cell ID=1",
        END_S,
        900,
        0,
        named,
    )


def test_samsungs_results() -> None:
    assert rows(read(SAMSUNG, "x.txt")) == [
        ("eNB_1", "RRC", "cNum0", END_S - 9 * 3600, 900, 0, {"ConnEstabAtt": 5, "ConnEstabSucc": 4}),
        ("eNB_1", "HO", "cNum0", END_S - 9 * 3600, 900, 0, {"ConnEstabAtt": 3, "ConnEstabSucc": None}),
    ]


def test_a_time_without_zone_is_in_the_profiles_zone_else_in_the_elements() -> None:
    assert rows(read(HUAWEI, zone_offset_min=60))[0][3] == END_S - 3600
    own = Profile(
        name="own", begin=("Result Time",), object=("Object Name",), period=("Granularity Period",), zone="+08:00"
    )
    assert rows(read(HUAWEI, "", own, zone_offset_min=60))[0][3] == END_S - 8 * 3600


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\nend: When\ntime_format: '%d.%m.%Y %H:%M'\ndefault_period: PT5M\n"
        "object: [Site, Sector]\ncounters: 'K.*'\nmissing: [void]\ndelimiters: '|'\nheader_rows: 2\n"
    )
    (own,) = profile.read([tmp_path])
    text = "When|Site|Sector|K1|K2|Remark\n|||pcs|pcs|\n18.05.2020 16:15|S1|2|void|4|ok\n"
    assert rows(read(text, "", own)) == [
        ("by-name", "Sector", "Site=S1,Sector=2", END_S, 300, 0, {"K1": None, "K2": 4})
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\nobject: [a]\n", "a column for begin or end"),
        ("name: x\nobjct: [a]\nend: [b]\n", "unknown key 'objct'"),
        ("name: x\nobject: [a]\nend: [b]\ncounters: '('\n", "is no pattern"),
        ("- 1\n", "not a mapping"),
        ("a: [", "own.yaml"),
        ("name: x\nobject: [a]\nend: [b]\nheader_rows: two\n", "header_rows must be of type"),
        ("object: [a]\nend: [b]\n", "name"),
    ],
)
def test_a_profile_that_cannot_be_used_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(BadSettings, match=says.replace("(", r"\(")):
        list(profile.read([tmp_path]))


def test_a_row_of_another_width_is_set_aside_alone() -> None:
    parsed = read(
        HUAWEI + '2020-05-18 16:00,15,"NODEB3/Cell:x",Reliable,1,2,3,4\n2020-05-18 16:00,15,N/C:y,Reliable,5\n'
    )
    assert parsed.counts.reasons == {"count mismatch": 5}
    assert parsed.counts.values == 6
    details = [orjson.loads(aside.detail) for aside in parsed.quarantined]
    assert [(detail["types"], detail["results"]) for detail in details] == [(3, 4), (3, 1)]


def test_a_row_without_a_time_is_set_aside_alone() -> None:
    parsed = read(HUAWEI + "soon,15,N/Cell:y,Reliable,1,2,3\n")
    assert (parsed.counts.reasons, parsed.counts.values) == ({"bad period": 3}, 6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HUAWEI[:-6], "cut off within a row: line 5"),
        (HUAWEI + '2020-05-18 16:00,15,"N', "not a table: unexpected end of data: line 6"),
        (HUAWEI.replace(",12,", ",\x01,"), "control character: line 3, column 89"),
        ("a,b,c\n1,2,3\n", "neither XML nor a table whose header a profile knows"),
        (HUAWEI.partition("2020")[0], "no values"),
        (HUAWEI + "x" * (5 << 20), "a line of more than"),
    ],
)
def test_it_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(BadFile, match=reason):
        read(text)


def test_bytes_of_another_encoding_are_refused_at_their_line() -> None:
    with pytest.raises(BadFile, match="no character, or a control character: line 3"):
        read_file(HUAWEI.replace("NODEB1", "Zürich").encode("latin-1"), Origin("4ga", "aa", "e", 1))
