"""One measurement in all the spellings of vendors' XML is read as the standards mean it."""

from typing import Any

import pytest

from services.fetcher.parse.bad_file import BadFile
from tests.unit.fetcher.parse.reading import cut, parsed, rows

END_S, GP_S = 1684134900, 900
HEADER = '<fileHeader vendorName="V" dnPrefix="S=1"><fileSender localDn="N=1"/></fileHeader>'
PERIOD = '<granPeriod duration="PT900S" endTime="2023-05-15T07:15:00Z"/>'
NAMES = '<measType p="1">a</measType><measType p="2">b</measType>'
ROW = '<measValue measObjLdn="C=1"><r p="1">1</r><r p="2">2</r></measValue>'


def document(info: str = "", *, period: str = PERIOD, names: str = NAMES, row: str = ROW, element: str = "") -> str:
    """Returns a file of one measInfo with some parts spelled differently."""
    head = f'<measInfo measInfoId="A"><job jobId="j"/>{period}<repPeriod duration="PT1800S"/>'
    element = element or '<managedElement localDn="M=1"/>'
    data = f"<measData>{element}{info or head + names + row + '</measInfo>'}</measData>"
    footer = '<fileFooter><measCollec endTime="2023-05-15T07:15:00Z"/></fileFooter>'
    xml = '<?xml version="1.0" encoding="UTF-8"?>'
    return f'{xml}\n<measCollecFile xmlns="urn:x">{HEADER}{data}{footer}</measCollecFile>\n'


def read(data: str | bytes) -> list[dict[str, Any]]:
    """Reads a document by the lane, in small chunks, and by expat alone; all results are the same."""
    data = data if isinstance(data, bytes) else data.encode()
    found = rows(parsed(data))
    assert found == rows(parsed(data, fast=False)) == rows(parsed(data, chunk=5, piece=64))
    return found


def row(**other: Any) -> list[dict[str, Any]]:
    """Returns the row that must be stored, with the given differences."""
    plain = {"element": "S=1,M=1", "group": "A", "object": "C=1", "end_s": END_S, "gp_s": GP_S, "suspect": False}
    return [plain | {"values": {"a": "1", "b": "2"}} | other]


PREFIXED = (
    document()
    .replace("<", "<pm:")
    .replace("<pm:/", "</pm:")
    .replace("<pm:?", "<?")
    .replace("xmlns=", "xmlns:pm=")
    .replace(' p="', ' pm:p="')
    .replace("measObjLdn", "pm:measObjLdn")
)


@pytest.mark.parametrize(
    "text",
    [
        document(),
        document(row=ROW.replace('measObjLdn="C=1"', "  x='1' measObjLdn = 'C=1' y=\"2\" ")),
        document(row=ROW.replace(' p="1"', ' p="1" unit="ms"')),
        document(row=ROW.replace('<r p="1">1</r>', "").replace("</measValue>", '<r p="1"> 1\n</r></measValue>')),
        document(row=ROW.replace(">1<", "><![CDATA[1]]><")),
        document(row=ROW.replace("<r ", "<!-- why --><r ").replace("C=1", "C&#61;1")),
        document(row=ROW.replace(' p="1"', "").replace(' p="2"', "")),
        document(row='<measValue measObjLdn="C=1"><measResults>1\n  2 </measResults></measValue>'),
        document(names="<measTypes>a b </measTypes>"),
        document(names="<measTypes>a</measTypes><measTypes>b</measTypes>"),
        document(names=NAMES.replace("1", "0").replace("2", "7"), row=ROW.replace('"1"', '"0"').replace('"2"', '"7"')),
        document(names=NAMES.replace('"1"', '"c-1"'), row=ROW.replace('"1"', '"c-1"')),
        document(names=NAMES.replace('p="1"', 'x="y" p="1"')),
        document("<measInfo/>" + document()[document().index("<measInfo") : document().index("</measData>")]),
        document().replace("\n", "\r\n").replace("><", ">\r\n\t<"),
        document().replace("<measData>", "<vendor:x xmlns:vendor='u'><measured/></vendor:x><measData>"),
        document().replace('dnPrefix="S=1"', 'dnPrefix=" S=1 "'),
        document().replace("measCollecFile", "measDataFile").replace("managedElement", "measEntity"),
        "\ufeff" + document(),
        document().partition("\n")[2],
        PREFIXED,
    ],
)  # fmt: skip
def test_a_spelling_of_the_same_measurement_gives_the_same_row(text: str) -> None:
    assert read(text) == row()


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (document(element='<managedElement localDn="" userLabel="BSC 1"/>'), {"element": "S=1,N=1"}),
        (
            document(element='<managedElement userLabel=" BSC 1 "/>').replace('localDn="N=1"', 'elementType="BSC"'),
            {"element": "BSC 1"},
        ),
        (document(element="<!-- none -->"), {"element": "S=1,N=1"}),
        (document(row=ROW.replace(' measObjLdn="C=1"', "")), {"object": ""}),
        (document(row=ROW.replace("C=1", "Zürich, Nord=Ä")), {"object": "Zürich, Nord=Ä"}),
        (document(row=ROW.replace("C=1", "N1/Cell:Name=N1, Local=1")), {"object": "N1/Cell:Name=N1, Local=1"}),
        (document().replace(' measInfoId="A"', ""), {"group": "C"}),
        (document(row=ROW.replace("</measV", "<suspect>true</suspect></measV")), {"suspect": True}),
        (document(row=ROW.replace("<r p", "<suspect>1</suspect><r p", 1)), {"suspect": True}),
        (document(row=ROW.replace("</measV", "<suspect> FALSE </suspect></measV")), {"suspect": False}),
        (document(row=ROW.replace(">2<", f">{'0,' * 30_000}0<")), {"values": {"a": "1", "b": ["0"] * 30_001}}),
    ],
)  # fmt: skip
def test_what_is_written_otherwise_is_read_so(text: str, other: dict[str, Any]) -> None:
    assert read(text) == row(**other)


def test_elements_that_have_only_labels_are_told_apart() -> None:
    two = "".join(f'<measData><managedElement userLabel="{label}"/>{{0}}</measData>' for label in ("B1", "B2"))
    info = document()[document().index("<measInfo") : document().index("</measData>")]
    header = HEADER.replace(' localDn="N=1"', "")
    found = read(f"<measCollecFile>{header}{two.format(info)}</measCollecFile>")
    assert [one["element"] for one in found] == ["B1", "B2"]


@pytest.mark.parametrize(
    "duration",
    [
        "PT900S",
        "PT15M",
        "PT0H15M0S",
        "P0DT15M",
        "P0Y0M0DT0H15M0.000S",
        "PT0.25H",
        "PT900,0S",
        "pt15m",
        " PT15M ",
        "900",
    ],
)  # fmt: skip
def test_a_duration_is_read_in_all_its_spellings(duration: str) -> None:
    assert read(document(period=PERIOD.replace("PT900S", duration))) == row()


@pytest.mark.parametrize(
    "end",
    [
        "2023-05-15T07:15:00Z",
        "2023-05-15T07:15:00.000z",
        "2023-05-15T08:15:00+01:00",
        "2023-05-15T08:15:00+0100",
        "2023-05-15T08:15+01",
        "2023-05-15T08:14:59.999+01:00:00",
        "2023-05-15T03:15:00 -0400",
        "2023-05-15 07:15:00 UTC",
        "2023-05-15 15:15:00 GMT+08:00",
        "20230515071500Z",
        "20230515T0715",
        "2023/05/15 07:15",
        "2023/5/15 7:15:00",
        "2023-05-15T07:15:00",
    ],
)
def test_a_time_is_read_in_all_its_spellings(end: str) -> None:
    assert read(document(period=PERIOD.replace("2023-05-15T07:15:00Z", end))) == row()


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("UTF-8", "utf-8-sig"),
        ("UTF8", "utf-8"),
        ("UTF-16", "utf-16"),
        ("UTF-16", "utf-16-le"),
        ("UTF-16", "utf-16-be"),
        ("utf-16", "utf-8"),  # as .NET declares what it writes in UTF-8
        ("ISO-8859-1", "latin-1"),
        ("latin1", "latin-1"),
        ("ISO-8859-15", "iso-8859-15"),
        ("windows-1252", "cp1252"),
    ],
)
def test_an_encoding_is_read_whatever_its_name(declared: str, encoding: str) -> None:
    text = document(row=ROW.replace("C=1", "Zürich=Ä")).replace('"UTF-8"', f'"{declared}"')
    assert read(text.encode(encoding)) == row(object="Zürich=Ä")


@pytest.mark.parametrize("after", ["\0" * 10 + "x", "\x1a<", document()])
def test_what_follows_the_end_is_refused_at_its_place(after: str) -> None:
    with pytest.raises(BadFile) as caught:
        parsed((document() + after).encode())
    assert caught.value.line >= document().count("\n")


def test_a_measinfo_without_any_period_is_quarantined_and_says_why() -> None:
    found = parsed(b"".join(cut(document(period="").encode(), 7)))
    assert found.counts.reasons == {"bad period": 2}
    assert b"not a duration: ''" in found.quarantined[0].detail


@pytest.mark.parametrize("root", ["measDataFile", "MeasDataFile"])
@pytest.mark.parametrize("entity", ["managedElement", "measEntity", "measuredEntity"])
def test_the_5g_file_is_read_as_28_532_and_28_550_spell_it(root: str, entity: str) -> None:
    written = document(element=f'<{entity} localDn="M=1" swVersion="r1"/>').replace("measCollecFile", root)
    assert read(written) == row()


def test_the_period_of_an_mdc_may_stand_before_its_measinfos() -> None:
    infos = "".join(
        f"<mi>{own}<mt>a</mt><mv><moid>C={n}</moid><r>{n}</r></mv></mi>"
        for n, own in enumerate(("", "<mts>20221117180000Z</mts><gp>900</gp>", ""))
    )
    period = "<sf>false</sf><mts>20221117160000-0200</mts><gp>3600</gp>"
    found = read(f"<mdc><md><neid><nedn>M=1</nedn></neid>{period}{infos}</md></mdc>")
    ends = {(r["object"], r["end_s"], r["gp_s"]) for r in found}
    six_s = 1668708000
    assert ends == {("C=0", six_s, 3600), ("C=1", six_s, 900), ("C=2", six_s, 3600)}
