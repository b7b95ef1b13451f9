"""Files as public bug reports describe them: each is read as far as it can be, and what cannot be read is named."""

import gzip
import io
import tarfile
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.blocks import shipped
from services.fetcher.parse.tables.profile import Profile, read_profiles
from services.fetcher.parse.unpack import Incomplete
from shared.messages import CounterBatch
from shared.settings import BadSettings

FAULTS = Path(__file__).parents[3] / "data" / "faults"
HUAWEI = "HOST1_pmresult_83888217_60_202606190000_202606190100"
ORIGIN = Origin("4ga", "00000000000000aa", "N1", 7)


OWN = Profile(name="own", end=("Time",), object=("Cell",), default_period="PT15M")


def read(data: bytes | str, *profiles: Profile, zone: str = "UTC", name: str = f"{HUAWEI}.csv") -> Parsed:
    origin = replace(ORIGIN, zone=zone, file_name=name)
    raw = data.encode() if isinstance(data, str) else data
    return read_file(raw, origin, profiles=(*profiles, *shipped()))


def fault(name: str, *profiles: Profile) -> Parsed:
    return read((FAULTS / name).read_bytes(), *profiles, name=name)


def values(parsed: Parsed) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns group and object -> counter -> value."""
    found = {}
    for batch in map(CounterBatch.decode, (batch.value for batch in parsed.batches)):
        for row in batch.rows:
            found[batch.group, row[0]] = dict(zip(batch.counters, row[2:], strict=True))
    return found


def details(parsed: Parsed) -> list[dict[str, Any]]:
    return [orjson.loads(block.detail) for block in parsed.quarantined]


MEAS = (
    '<measCollecFile><fileHeader/><measData><managedElement localDn="N1"/>'
    '<measInfo measInfoId="G"><granPeriod duration="PT900S" endTime="2026-05-01T10:15:00Z"/>{}</measInfo>'
    "</measData></measCollecFile>"
)
ONE = MEAS.format('<measType p="1">a</measType><measValue measObjLdn="Cell=ä"><r p="1">1</r></measValue>')


def mdc(*infos: str) -> str:
    return f"<mdc><mfh><sn>N1</sn></mfh><md><neid/>{''.join(infos)}</md></mdc>"


def ms(name: str, *rows: str, flag: str = "false", counters: str = "<mt>a</mt><mt>b</mt>") -> str:
    return f"<ms><msn>{name}</msn><sf>{flag}</sf><es>false</es>{counters}{''.join(rows)}</ms>"


def mv(name: str, *results: int) -> str:
    return f"<mv><moid>{name}</moid>{''.join(f'<r>{result}</r>' for result in results)}</mv>"


TIME = "<mts>2026-01-03 13:15:00</mts><gp>300</gp>"


def test_sets_of_counters_in_an_mdc_are_groups() -> None:
    assert values(fault("mdc-wem-two-ms.xml")) == {
        ("CardStat", "1"): {"card": 1, "cpu": 22},
        ("CardStat", "2"): {"card": 2, "cpu": 33},
        ("PortStat", "1"): {"port": 1, "rx": 500},
    }
    assert values(fault("mdc-wem-file1-cardstat.xml")) == {("CardStat", "1"): {"cpu": 22, "mem": 5}}
    assert values(fault("mdc-wem-file2-portstat.xml")) == {("PortStat", "1"): {"mem": 9, "rx": 500}}


def test_a_set_has_a_flag_of_its_own_and_leaves_the_measinfo_around_it_as_it_is() -> None:
    own = "<mt>a</mt>" + mv("0", 7)
    parsed = read(mdc(f"<mi>{TIME}{own}{ms('X', mv('1', 1, 2), flag='TRUE')}{ms('Y', mv('1', 3, 4))}</mi>"))
    suspects = {batch.group: batch.rows[0][1] for batch in map(CounterBatch.decode, (b.value for b in parsed.batches))}
    assert suspects == {"ManagedElement": 0, "X": 1, "Y": 0}
    assert values(parsed)["ManagedElement", "0"] == {"a": 7}
    assert parsed.counts.suspect == 1


def test_a_set_without_a_name_and_one_with_a_time_of_its_own() -> None:
    parsed = read(mdc(f"<mi>{TIME}<ms><mts>20260103140000Z</mts><mt>a</mt>{mv('Card=1', 1)}</ms></mi>"))
    (batch,) = (CounterBatch.decode(batch.value) for batch in parsed.batches)
    assert (batch.group, batch.end_s) == ("Card", 1767448800)


def test_counters_may_be_named_within_each_row() -> None:
    parsed = fault("meastypes-inside-measvalue-two.xml")
    assert list(values(parsed).values()) == [
        {"RSRP": 75, "RSRQ": 82, "Thp": 1024}, {"RSRP": 76, "RSRQ": 83, "Thp": 1025},
    ]  # fmt: skip
    row = '<measValue measObjLdn="Cell={}"><measTypes>{}</measTypes><measResults>{}</measResults></measValue>'
    rows = (
        row.format(1, "a b", "1 2"),
        row.format(2, "b", "3"),
        row.format(3, "b a", "4 5"),
        row.format(4, "a b", "6"),
    )
    parsed = read(MEAS.format("".join(rows)))
    assert values(parsed) == {
        ("G", "Cell=2"): {"b": 3},
        ("G", "Cell=3"): {"b": 4, "a": 5},
        ("G", "Cell=1"): {"a": 1, "b": 2},
    }
    assert parsed.counts.reasons == {"count mismatch": 1}


@pytest.mark.parametrize(
    "text",
    [
        (FAULTS / "28532-header-only.xml").read_text(),
        ONE.replace(">1<", ">NIL<"),
        MEAS.format(""),
        mdc(),
        "Result Time,Granularity Period,Object Name,Reliability,1\n",
    ],
)
def test_a_file_without_values_is_valid(text: str) -> None:
    parsed = read(text)
    assert (parsed.counts.values, parsed.counts.reasons, parsed.notes) == (0, {}, ["no values"])


def test_lists_of_commas_and_blanks_are_lists() -> None:
    assert values(fault("lists-comma-space.xml")) == {("G", "Cell=1"): {"a": 1, "b": 2, "c": 3}}


@pytest.mark.parametrize(
    ("names", "results", "stored"),
    [
        ("a,b,c", "1,2,3", {}),
        ("a,b,c", "1 2 3", {"a": 1, "b": 2, "c": 3}),
        ("a b c", "1, 2, 3", {"a": 1, "b": 2, "c": 3}),
        ("a", "1,2,3", {"a": [1, 2, 3]}),
        ("a b", "1,2,3", {}),
        ("a b", "1,2 3,4", {"a": [1, 2], "b": [3, 4]}),
    ],
)
def test_commas_alone_may_separate_names_but_between_values_they_make_a_vector(
    names: str, results: str, stored: dict[str, Any]
) -> None:
    row = f'<measTypes>{names}</measTypes><measValue measObjLdn="C=1"><measResults>{results}</measResults></measValue>'
    parsed = read(MEAS.format(row))
    assert values(parsed).get(("G", "C=1"), {}) == stored
    assert bool(parsed.counts.reasons) == (not stored)


@pytest.mark.parametrize(
    ("results", "stored", "reasons"),
    [
        ("1 2,3", {"a": 1, "b": [2, 3]}, {}),
        ("1 , 2", {"a": 1, "b": 2}, {}),
        ("1,\n2", {"a": 1, "b": 2}, {}),
        ("1, ", {}, {"count mismatch": 1}),
        ("1, 2 3", {}, {"ambiguous comma": 3}),
        ("1,2, 3,4", {}, {"count mismatch": 4}),
    ],
)
def test_a_comma_beside_a_blank_never_makes_an_array(
    results: str, stored: dict[str, Any], reasons: dict[str, int]
) -> None:
    row = f'<measTypes>a b</measTypes><measValue measObjLdn="Cell=1"><measResults>{results}</measResults></measValue>'
    parsed = read(MEAS.format(row))
    assert values(parsed).get(("G", "Cell=1"), {}) == stored
    assert parsed.counts.reasons == reasons


def test_unsigned_integers_of_64_bits_are_numbers() -> None:
    assert values(fault("value-u64.xml")) == {("G", "Cell=1"): {"c": 2**64 - 1}}


@pytest.mark.parametrize(
    ("before", "behind", "notes"),
    [
        ("\ufeff\ufeff\ufeff", "", []),
        ("<!-- made by x -->\n", "", []),
        ("\ufeff<!-- a - b -->\n<?x y?><!-- <?xml version='1.0'?> -->", "", []),
        (f"<!--{'x' * 20_000}-->", "", []),
        ("", "\0" * 100, ["100 padding bytes behind the end"]),
        ("", "\n\0\0\n\0", ["4 padding bytes behind the end"]),
        ("", "\x1a", ["1 padding bytes behind the end"]),
    ],
)
@pytest.mark.parametrize("chunk", [1, 100, 1 << 16])
def test_what_stands_around_a_document_is_let_pass(before: str, behind: str, notes: list[str], chunk: int) -> None:
    data = f'{before}<?xml version="1.0" encoding="UTF-8"?>\n{ONE}{behind}'.encode()
    chunks = (data[at : at + chunk] for at in range(0, len(data), chunk))
    parsed = read_file(chunks, ORIGIN)
    assert values(parsed) == {("G", "Cell=ä"): {"a": 1}}
    assert parsed.notes == notes


@pytest.mark.parametrize("name", ["trailing-nuls", "double-bom", "comment-before-declaration"])
def test_those_documents_of_bug_reports_too(name: str) -> None:
    assert values(fault(f"{name}.xml")) == {("G", "Cell=ä"): {"a": 1}}


@pytest.mark.parametrize("text", [ONE.replace(">1<", ">1\0<"), ONE + "\0x", "\0" + ONE + "\0\0<a/>"])
def test_padding_within_a_document_is_refused_at_its_place(text: str) -> None:
    with pytest.raises(BadFile, match=r"not well-formed|line 1"):
        read(text)


@pytest.mark.parametrize(
    ("declaration", "encoding", "reason"),
    [
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "latin-1", "not utf-8, as declared; they look like latin-1"),
        (
            "<?xml version='1.0'?>\n",
            "cp1252",
            "not utf-8, which is assumed without a declaration; they look like latin-1",
        ),
        ("\n", "latin-1", "not utf-8, which is assumed without a declaration; they look like latin-1"),
        ('<?xml version="1.0" encoding="US-ASCII"?>\n', "utf-8", "not ascii, as declared"),
    ],
)
def test_bytes_of_an_encoding_that_is_not_declared_are_named(declaration: str, encoding: str, reason: str) -> None:
    with pytest.raises(BadFile, match=f"bytes that are {reason}.*: line 2, column"):
        read((declaration + ONE).encode(encoding))
    with pytest.raises(BadFile, match=r"look like gb18030: line 1"):
        read(ONE.replace("ä", "西湖小区基站").encode("gbk"))


def test_an_error_before_undecodable_bytes_is_what_it_is() -> None:
    with pytest.raises(BadFile, match="mismatched tag: line 1"):
        read(ONE.replace("<fileHeader/>", "<fileHeader></x>").encode("latin-1"))


def test_latin_1_of_a_bug_report_is_named() -> None:
    with pytest.raises(BadFile, match=r"as declared; they look like latin-1 or cp1252: line 2, column 497"):
        fault("latin1-undeclared.xml")


# Tables


HEADER = "Result Time,Granularity Period,Object Name,Reliability,1,2\n"
ROW = "2026-06-19 00:00,60,N1/Cell:C{},Reliable,{}\n"


@pytest.mark.parametrize("name", ["小区", "小", "中文小区", "站"])
def test_the_encoding_of_a_profile_is_obeyed(name: str) -> None:
    (own,) = read_profiles_of("hw-gbk.yaml")
    text = (HEADER + ROW.format("", "1,2")).replace("N1/", f"N1/{name}")
    assert {key[1] for key in values(read(text.encode("gbk"), own))} == {f"N1/{name}:".rstrip(":") + "Cell:C"}
    assert {key[1] for key in values(read(text.replace(name, "西湖").encode(), own))} == {"N1/西湖Cell:C"}


@pytest.mark.parametrize(
    ("encoding", "column"),
    [
        ("gbk", "小"),
        ("cp949", "셀"),
        ("cp1251", "Сота"),
        ("cp1252", "Größe"),
        ("utf-16-le", "Zelle"),
        ("utf-16-be", "小"),
    ],
)
def test_the_encoding_of_a_profile_is_obeyed_in_the_header_that_selects_it(encoding: str, column: str) -> None:
    own = replace(OWN, object=(column,), encoding=encoding)
    parsed = read(f"Time,{column},x\n2026-05-18 16:15,{column}1,7\n".encode(encoding), own)
    assert {key[1]: row for key, row in values(parsed).items()} == {f"{column}1": {"x": 7}}


@pytest.mark.parametrize("before", ["", "\ufeff\ufeff"])
@pytest.mark.parametrize("behind", ["", "\0" * 40, "\n\0\0", "\x1a"])
def test_what_stands_around_a_table_is_let_pass(before: str, behind: str) -> None:
    parsed = read(before + HEADER + ROW.format(1, "1,2") + behind)
    assert values(parsed) == {("83888217", "N1/Cell:C1"): {"1": 1, "2": 2}}
    assert bool(parsed.notes) == bool(behind)
    with pytest.raises(BadFile, match="a control character: line 2"):
        read(HEADER + ROW.format("1\0", "1,2"))


def read_profiles_of(name: str) -> list[Profile]:
    (FAULTS / name).resolve(strict=True)
    return [own for own in read_profiles([FAULTS]) if own.name == name.removesuffix(".yaml")]


def test_a_first_character_that_is_utf_8_by_chance_does_not_decide() -> None:
    parsed = fault(f"{HUAWEI}.gbk-xiaoqu.csv")
    assert (values(parsed), parsed.notes) == (
        {("83888217", "N1/小区:C1"): {"50331648": 5}},
        ["not UTF-8, read as gb18030"],
    )
    assert fault(f"{HUAWEI}.gbk-xiaoqu.csv", *read_profiles_of("hw-gbk.yaml")).notes == []


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_wide_characters_without_a_mark_are_named(encoding: str) -> None:
    with pytest.raises(BadFile, match=r"look like UTF-16 without a byte order mark|utf-32 is not supported"):
        read((HEADER + ROW.format(1, "1,2")).encode(encoding))


def test_a_row_with_stray_quotes_costs_itself() -> None:
    parsed = fault(f"{HUAWEI}.quotes-inside.csv")
    assert values(parsed) == {("83888217", "N1/Cell:Label=C2, CellID=2"): {"50331648": 7, "50331649": 8}}
    assert (set(parsed.counts.reasons), details(parsed)[0]["line"]) == ({"malformed row"}, 3)


@pytest.mark.parametrize(
    "bad",
    [
        '2026-06-19 00:00,60,"N1/Cell:bad,Reliable,1,2\n',
        '2026-06-19 00:00,60,"N1/Cell:bad"x,Reliable,1,2\n',
        '2026-06-19 00:00,60,"N1/Cell:"bad",Reliable,1,2\n',
        '2026-06-19 00:00,60,"N1/Cell:bad,Reliable,1,2\n' * 2,
        '"\n',
    ],
)
@pytest.mark.parametrize("rows", [1, 3, 200])
def test_a_quote_that_is_never_closed_costs_no_other_row(bad: str, rows: int) -> None:
    text = HEADER + ROW.format(0, "1,2") + bad + "".join(ROW.format(at, "3,4") for at in range(1, rows + 1))
    parsed = read(text)
    assert {name for _, name in values(parsed)} == {f"N1/Cell:C{at}" for at in range(rows + 1)}
    assert set(parsed.counts.reasons) <= {"malformed row"}
    assert [detail["line"] for detail in details(parsed)] == [3 + at for at in range(bad.count("\n"))]


def test_a_text_in_quotes_may_have_several_lines() -> None:
    parsed = read(HEADER + '2026-06-19 00:00,60,"N1/Cell:a\nb",Reliable,1,2\n')
    assert values(parsed) == {("83888217", "N1/Cell:a\nb"): {"1": 1, "2": 2}}


def test_a_column_without_a_name_costs_itself() -> None:
    assert values(fault(f"{HUAWEI}.unnamed-column.csv")) == {("83888217", "N1/Cell:C1"): {"1": 5, "2": 6}}
    parsed = read(HEADER.replace(",1,", ",1,,") + ROW.format(1, "5,7,6"))
    assert values(parsed) == {("83888217", "N1/Cell:C1"): {"1": 5, "2": 6}}
    assert parsed.counts.reasons == {"counter without a name": 1}
    assert details(parsed)[0]["values"] == [{"object": "N1/Cell:C1", "column": 2, "value": 7}]


def test_columns_without_a_name_behind_the_last_one_cost_themselves() -> None:
    parsed = read(
        HEADER.replace(",2\n", ",2,,\n") + ROW.format(1, "5,6,7,") + ROW.format(2, "5,6") + ROW.format(3, "1,2,3,4,5")
    )
    assert values(parsed) == {("83888217", f"N1/Cell:C{at}"): {"1": 5, "2": 6} for at in (1, 2)}
    assert parsed.counts.reasons == {"counter without a name": 1, "count mismatch": 5}


def test_a_counter_without_a_name_in_xml_costs_itself() -> None:
    names = '<measType p="1">a</measType><measType p="2"> </measType>'
    parsed = read(MEAS.format(f'{names}<measValue measObjLdn="C=1"><r p="1">5</r><r p="2">7</r></measValue>'))
    assert (values(parsed), parsed.counts.reasons) == ({("G", "C=1"): {"a": 5}}, {"counter without a name": 1})
    only = '<measType p="1"/><measValue measObjLdn="C=1"><r p="1">5</r></measValue>'
    parsed = read(MEAS.format(only))
    assert (values(parsed), parsed.counts.quarantined) == ({}, 1)


def test_a_last_line_without_its_end_is_told() -> None:
    parsed = fault(f"{HUAWEI}.cut-in-number.csv")
    assert values(parsed) == {("83888217", "N1/Cell:C1"): {"50331648": 5, "50331649": 61}}
    assert parsed.notes == ["the last line has no line end: its last value may be cut off"]


def test_a_number_that_may_be_a_vector_is_set_aside() -> None:
    parsed = fault(f"{HUAWEI}.thousands-quoted.csv")
    assert values(parsed) == {("83888217", "N1/Cell:C1"): {"50331648": None, "50331649": None}}
    assert parsed.counts.reasons == {"ambiguous comma": 2}
    assert [(f["object"], f["results"], f["p"]) for f in details(parsed)[0]["faults"]] == [
        ("N1/Cell:C1", ["1,234"], ["50331648"]), ("N1/Cell:C1", ["12,5"], ["50331649"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "commas", "decimal", "value"),
    [
        ("1,234", "thousands", "", 1234), ("-1,234,567.5", "thousands", "", -1234567.5),
        ("1,234", "vector", "", [1, 234]), ("12,5", "vector", "", [12, 5]), ("12,5", "", ".", [12, 5]),
        ("1,234", "", ".", None), ("1,234,567", "", "", None), ("1,2,3", "", "", [1, 2, 3]),
        ("0,123", "", "", None), ("1234,567", "", "", None), ("1,234", "", ",", 1.234), ("1.234,5", "", ",", 1234.5),
        ("1.234.567,5", "", ",", 1234567.5), ("1,234,567", "", ",", None), ("a,b", "", "", "a,b"),
    ],
)  # fmt: skip
def test_a_comma_is_what_the_profile_says(cell: str, commas: str, decimal: str, value: object) -> None:
    own = replace(OWN, commas=commas, decimal=decimal)
    parsed = read(f'Time,Cell,x\n2026-05-18 16:15,C1,"{cell}"\n2026-05-18 16:15,C2,7\n', own)
    assert [row["x"] for row in values(parsed).values()] == [value, 7]
    assert parsed.counts.reasons == ({"ambiguous comma": 1} if value is None else {})


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("commas", "decimal", "commas must be thousands or vector"),
        ("element_pattern", "[^/]+/", "needs a group"),
        ("group_by_file_name", "pm_", "needs a group"),
        ("encoding", "undefined", "unknown encoding"),
    ],
)
def test_a_profile_that_could_not_be_applied_is_refused(key: str, value: str, says: str) -> None:
    with pytest.raises(BadSettings, match=says):
        replace(OWN, **{key: value})  # type: ignore[arg-type]


# Archives


def zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A.xml", data)
    return packed.getvalue()


def tarred(data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("A.xml")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def test_a_zip_with_a_name_in_another_encoding_is_damaged() -> None:
    with pytest.raises(BadFile, match="damaged zip: 'utf-8' codec can't decode"):
        fault("gbk-name-flagged-utf8.zip")


@pytest.mark.parametrize("pack", [zipped, tarred, gzip.compress, lambda data: gzip.compress(tarred(data))])
def test_each_damaged_byte_of_an_archive_is_refused_with_our_words_or_does_no_harm(pack: Any) -> None:
    packed = pack(ONE.encode())
    for at in range(0, len(packed), 1 if len(packed) < 2000 else 7):
        for mask in (0xFF, 0x01, 0x20):
            damaged = packed[:at] + bytes([packed[at] ^ mask]) + packed[at + 1 :]
            with suppress(BadFile, Incomplete):
                assert read(damaged).counts


@pytest.mark.parametrize("behind", [b"garbage", b"\x1f", b"\x1fx", b"\0\0x", b"x" * 100_000, b"\0" * 10 + b"\x1f"])
@pytest.mark.parametrize("chunk", [1, 1 << 16])
def test_bytes_behind_gzip_data_are_noted(behind: bytes, chunk: int) -> None:
    data = gzip.compress(ONE.encode()) + behind
    parsed = read_file((data[at : at + chunk] for at in range(0, len(data), chunk)), ORIGIN)
    assert values(parsed) == {("G", "Cell=ä"): {"a": 1}}
    assert parsed.notes == ["bytes behind the end of the gzip data were ignored"]


def test_gzip_with_garbage_of_a_bug_report_is_read() -> None:
    assert values(fault("gz-trailing-garbage.xml.gz")) == {("G", "Cell=ä"): {"a": 1}}


def test_an_archive_without_a_pm_file_is_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.md5", "1")
    with pytest.raises(BadFile, match="contains no PM file"):
        read(packed.getvalue())
