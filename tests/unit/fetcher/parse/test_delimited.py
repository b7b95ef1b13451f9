"""Vendors' tables are read by the profile their header fits: every cell, in its period, under its object."""

import csv
import dataclasses
import gzip
import io
import zipfile
from pathlib import Path

import orjson
import pytest

from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.tables import profile
from services.fetcher.parse.tables.profile import Profile
from shared.messages import CounterBatch
from shared.settings import BadSettings
from tests.unit.fetcher.parse.reading import cut

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


def read(text: str, name: str = "", *profiles: Profile, zone: str = "UTC", chunk: int = 1 << 16) -> Parsed:
    origin = Origin("4ga", "00000000000000aa", "by-name", 7, zone, name)
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
    assert rows(read(HUAWEI, zone="Etc/GMT-1"))[0][3] == END_S - 3600
    own = Profile(
        name="own", begin=("Result Time",), object=("Object Name",), period=("Granularity Period",), zone="+08:00"
    )
    assert rows(read(HUAWEI, "", own, zone="Etc/GMT-1"))[0][3] == END_S - 8 * 3600


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\nend: When\ntime_format: '%d.%m.%Y %H:%M'\ndefault_period: PT5M\n"
        "object: [Site, Sector]\ncounters: 'K.*'\nmissing: [void]\ndelimiters: '|'\nheader_rows: 2\n"
    )
    (own,) = profile.read_profiles([tmp_path])
    text = "When|Site|Sector|K1|K2|Remark\n|||pcs|pcs|\n18.05.2020 16:15|S1|2|void|4|ok\n"
    assert rows(read(text, "", own)) == [
        ("by-name", "Sector", "Site=S1,Sector=2", END_S, 300, 0, {"K1": None, "K2": 4})
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\nobject: [a]\n", "a column for begin or end"),
        ("name: x\nobjct: [a]\nend: [b]\n", "unknown key 'objct'"),
        ("name: x\nobject: [a]\nend: [b]\ncounters: '('\n", "is not a valid pattern"),
        ("- 1\n", "expected a mapping"),
        ("a: [", "own.yaml"),
        ("name: x\nobject: [a]\nend: [b]\nheader_rows: two\n", "header_rows must be of type"),
        ("object: [a]\nend: [b]\n", "name"),
        ("name: x\nobject: [a]\nend: [b]\nmissing: [null]\n", "missing must be a list of texts; quote"),
        ("name: x\nobject: [a]\nend: [b]\ndecimal: ';'\n", "decimal must be"),
        ("name: x\nobject: [a]\nend: [b]\nencoding: klingon\n", "unknown encoding 'klingon'"),
    ],
)
def test_a_profile_that_cannot_be_used_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(BadSettings, match=says.replace("(", r"\(")):
        list(profile.read_profiles([tmp_path]))


def test_a_row_of_another_width_is_quarantined_alone() -> None:
    parsed = read(
        HUAWEI + '2020-05-18 16:00,15,"NODEB3/Cell:x",Reliable,1,2,3,4\n2020-05-18 16:00,15,N/C:y,Reliable,5\n'
    )
    assert parsed.counts.reasons == {"count mismatch": 5}
    assert parsed.counts.values == 6
    details = [orjson.loads(quarantined.detail) for quarantined in parsed.quarantined]
    assert [(detail["types"], detail["results"]) for detail in details] == [(3, 4), (3, 1)]


def test_a_row_without_a_time_is_quarantined_alone() -> None:
    parsed = read(HUAWEI + "soon,15,N/Cell:y,Reliable,1,2,3\n")
    assert (parsed.counts.reasons, parsed.counts.values) == ({"bad period": 3}, 6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HUAWEI[:-6], "cut off within a row: line 5"),
        (HUAWEI + '2020-05-18 16:00,15,"N', "not a valid table: unexpected end of data: line 6"),
        (HUAWEI.replace(",12,", ",\x01,"), "control character: line 3, column 89"),
        ("a,b,c\n1,2,3\n", "neither XML nor a table whose header matches a profile"),
        (HUAWEI + "x" * (5 << 20), "a line is longer than"),
    ],
)
def test_it_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(BadFile, match=reason):
        read(text)


OWN = Profile(name="own", end=("Time",), object=("Cell",), default_period="PT15M")


def numbers(text: str, own: Profile = OWN) -> list[object]:
    """Returns the values of the first row."""
    return list(rows(read(text, "", own))[0][-1].values())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("delimiter", "decimal", "values"),
    [
        (";", "", [12.5, 3, [1, 2, 3]]),
        (";", ".", [[12, 5], 3, [1, 2, 3]]),
        ("\t", ".", [[12, 5], 3, [1, 2, 3]]),
        ("|", ",", [12.5, 3, [1, 2, 3]]),
        (",", ",", [12.5, 3, [1, 2, 3]]),
    ],
)
def test_a_comma_in_a_number_is_what_the_profile_says_else_what_spreadsheets_do(
    delimiter: str, decimal: str, values: list[object]
) -> None:
    text = 'Time,Cell,a,b,c\n2020-05-18 16:15,C1,"12,5",3,"1,2,3"\n'
    if delimiter != ",":
        header, row, _ = text.split("\n")
        text = header.replace(",", delimiter) + "\n" + delimiter.join(next(csv.reader([row]))) + "\n"
    assert numbers(text, dataclasses.replace(OWN, decimal=decimal)) == values


@pytest.mark.parametrize("units", ["", ",,%,ms\n", "Time of day,,pcs,\n", "(UTC),,None,None\n\n"])
def test_a_row_of_units_is_no_row_whatever_the_profile_says(units: str) -> None:
    parsed = read(f"Time,Cell,a,b\n{units}2020-05-18 16:15,C1,1,2\n", "", OWN)
    assert (parsed.counts.rows, parsed.counts.values, parsed.counts.quarantined) == (1, 2, 0)


def test_a_first_row_without_a_time_but_with_a_number_is_quarantined() -> None:
    parsed = read("Time,Cell,a,b\n,C0,7,x\n2020-05-18 16:15,C1,1,2\n", "", OWN)
    assert parsed.counts.reasons == {"bad period": 2}


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(line_end: str, chunk: int) -> None:
    text = HUAWEI.replace("\r\n", line_end)
    assert rows(read(text, chunk=chunk)) == rows(read(HUAWEI))
    with pytest.raises(BadFile, match="cut off within a row: line 5"):
        read(text.rstrip()[:-4], chunk=chunk)


def test_joined_files_are_read_as_one() -> None:
    twice = read("Time,Cell,a\n2020-05-18 16:15,C1,1\nTime,Cell,a\n2020-05-18 16:30,C1,2\n", "", OWN)
    assert (twice.counts.rows, twice.counts.quarantined) == (2, 0)


def test_date_and_time_may_stand_in_two_columns_and_be_written_in_several_ways() -> None:
    own = dataclasses.replace(OWN, date=("Day",), time_format=("%d/%m/%Y %H:%M", "%d-%b-%Y %I:%M %p"))
    for day, time in (
        ("18/05/2020", "16:15"),
        ("18-May-2020", "04:15 PM"),
        ("2020-05-18", "16:15"),
        ("2020/5/18", "16:15:00"),
    ):
        assert rows(read(f"Day;Time;Cell;a\n{day};{time};C1;1\n", "", own))[0][3] == END_S


def test_values_in_a_column_without_a_role_are_counted_and_reported() -> None:
    own = dataclasses.replace(OWN, counters="a|b", ignore=("Label",))
    parsed = read("Time,Cell,Label,a,x,b\n" + "2020-05-18 16:15,C1,here,1,7,2\n2020-05-18 16:15,C2,,1,NIL,2\n", "", own)
    assert (parsed.counts.values, parsed.counts.dropped) == (4, 1)
    assert parsed.counts.reasons == {"column without a role": 1}


def in_bytes(data: bytes, *profiles: Profile, chunk: int = 1 << 16) -> Parsed:
    return read_file(cut(data, chunk), Origin("4ga", "00000000000000aa", "e", 1), profiles=profiles or None)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
@pytest.mark.parametrize(
    ("encoding", "name", "note"),
    [
        ("utf-8", "Zürich", []),
        ("utf-8-sig", "Zürich", []),
        ("utf-16", "Zürich", []),
        ("latin-1", "Zürich Straße", ["not UTF-8, read as cp1252"]),
        ("cp1252", "São João, estação", ["not UTF-8, read as cp1252"]),
        ("gbk", "西湖基站", ["not UTF-8, read as gb18030"]),
        ("gb18030", "A1-镕喆站㐂区", ["not UTF-8, read as gb18030"]),
    ],
)
def test_a_table_is_read_in_the_encoding_its_bytes_are_in(
    encoding: str, name: str, note: list[str], chunk: int
) -> None:
    parsed = in_bytes(HUAWEI.replace("NODEB1", name).encode(encoding), chunk=chunk)
    assert {str(row[0]) for row in rows(parsed)} == {name, "NODEB2"}
    assert (parsed.counts.values, parsed.notes) == (6, note)


def test_the_profile_may_tell_the_encoding_and_names_in_the_header_are_read_by_it_too() -> None:
    text = "Time,Cell,셀수\n2020-05-18 16:15,서울,1\n"
    own = dataclasses.replace(OWN, encoding="cp949")
    assert rows(in_bytes(text.encode("cp949"), own))[0][2:] == ("서울", END_S, 900, 0, {"셀수": 1})
    assert rows(in_bytes(text.encode(), own))[0][2] == "서울"
    assert in_bytes(text.encode("cp949"), own).notes == []


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
def test_bytes_of_two_encodings_are_refused_at_their_line(chunk: int) -> None:
    first, second = HUAWEI.replace("NODEB1", "Zürich", 1).encode(), HUAWEI.replace("NODEB1", "Zürich").encode("latin-1")
    mixed = b"".join(first.splitlines(keepends=True)[:3] + second.splitlines(keepends=True)[3:])
    with pytest.raises(BadFile, match="bytes that are not utf-8: line 4"):
        in_bytes(mixed, chunk=chunk)
    undefined = HUAWEI.replace("NODEB1", "Z").encode().replace(b"Z/", b"Z\x81\xfc/")
    with pytest.raises(BadFile, match="bytes that are not cp1252: line 3"):
        in_bytes(undefined, chunk=chunk)


def test_members_of_an_archive_tell_their_groups_by_their_own_names() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pm/pmresult_1526726700_15_202005181600_202005181615.csv", HUAWEI)
        archive.writestr("pmresult_1526726800_15_202005181600_202005181615.csv.gz", gzip.compress(HUAWEI.encode()))
    parsed = read_file(packed.getvalue(), Origin("4ga", "00000000000000aa", "e", 1, "UTC", "pmresult_1_15.zip"))
    assert {row[1] for row in rows(parsed)} == {"1526726700", "1526726800"}
    assert parsed.counts.values == 12


def test_an_error_in_a_member_of_an_archive_names_it() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("good.csv", HUAWEI)
        archive.writestr("pm/bad.csv", HUAWEI[:-6])
    with pytest.raises(BadFile, match=r"pm/bad.csv: the table is cut off within a row: line 5") as caught:
        in_bytes(packed.getvalue())
    assert caught.value.line == 5


def test_a_header_that_no_profile_knows_is_shown() -> None:
    with pytest.raises(BadFile, match=r"the most likely header: 'When;Site;K1': line 2"):
        read("export\nWhen;Site;K1\n1;2;3\n")
