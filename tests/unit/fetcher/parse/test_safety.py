"""Content that no PM file needs is refused with its position; content that is odd but allowed is read."""

from collections.abc import Callable

import pytest

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.blocks import read_blocks
from tests.unit.fetcher.parse.reading import parsed, rows

HEAD = '<?xml version="1.0"?>'
DATA = """<measCollecFile><fileHeader/><measData><managedElement localDn="M=1"/>
<measInfo measInfoId="A"><granPeriod duration="PT900S" endTime="2023-05-15T07:15:00Z"/>
<measType p="1">a</measType><measType p="2">b</measType>
<measValue measObjLdn="C=1"><r p="1">1</r><r p="2">2</r></measValue>
<measValue measObjLdn="C=2"><r p="1">3</r><r p="2">4</r></measValue>
</measInfo></measData></measCollecFile>"""
WHOLE = HEAD + DATA


def refused(text: str | bytes) -> BadFile:
    """Returns the error, which is the same by the lane and by expat alone."""
    data = text if isinstance(text, bytes) else text.encode()
    errors = []
    for fast in (True, False):
        with pytest.raises(BadFile) as caught:
            list(read_blocks([data], fast=fast))
        errors.append(caught.value)
    assert str(errors[0]) == str(errors[1])
    return errors[0]


def values(text: str | bytes) -> list[dict[str, object]]:
    data = text if isinstance(text, bytes) else text.encode()
    found = rows(parsed(data))
    assert found == rows(parsed(data, fast=False))
    return [row["values"] for row in found]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f'{HEAD}<!DOCTYPE x [<!ENTITY a "b">]>{DATA}', "declares an entity, 'a': line 1"),
        (f'{HEAD}<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>{DATA}', "declares an entity"),
        (f'{HEAD}<!DOCTYPE x [<!ENTITY % a SYSTEM "http://x/">]>{DATA}', "declares an entity"),
        (f'{HEAD}<!DOCTYPE x SYSTEM "x.dtd">{DATA.replace(">1<", ">&a;<")}', "uses an undeclared entity, 'a': line 4"),
        (WHOLE.replace(">1<", ">&a;<"), "undefined entity: line 4"),
        (f'{HEAD}<!DOCTYPE x [<!ATTLIST r p CDATA "1">]>{DATA}', "default for an attribute"),
        (WHOLE.replace(">1<", ">\x01<"), "invalid token"),
        (WHOLE.replace(">1<", ">\x00<"), "invalid token"),
        (WHOLE.replace(">1<", ">]]><"), "invalid token"),
        (WHOLE.replace('p="1">1', 'p="1" p="1">1'), "duplicate attribute: line 4"),
        (WHOLE.replace(">1<", "><x/>1<"), "the element <x> within <r>, which holds only text: line 4"),
        (WHOLE + "<a/>", "junk after document element"),
        (WHOLE + "text", "junk after document element"),
        (
            "hello",
            "neither XML nor a table whose header matches a profile (huawei-pmresult, samsung, zte): line 1, column 1",
        ),
        ("", "empty"),
        ("  ", "no element found"),
        ("<html><body/></html>", "not a PM file: its root element is <html>: line 1, column 1"),
        (f"{HEAD} {WHOLE}", "line 1"),
        (WHOLE.replace("<fileHeader/>", f"<fileHeader/>{HEAD}"), "not at start"),
        (WHOLE.replace("<fileHeader/>", "<x>" * 30), "nested deeper than 16 levels: line 1"),
    ],
)
def test_it_is_refused_with_its_place(text: str, reason: str) -> None:
    assert reason in str(refused(text))


def test_billion_laughs_are_refused_at_the_first() -> None:
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">\n' for i in range(1, 10))
    error = refused(f'{HEAD}\n<!DOCTYPE x [\n<!ENTITY l0 "lol">\n{laughs}]>{DATA}')
    assert (error.line, "declares an entity" in str(error)) == (3, True)


@pytest.mark.parametrize("cut_at", range(1, len(WHOLE), 7))
def test_a_file_that_was_cut_off_is_refused_wherever(cut_at: int) -> None:
    assert refused(WHOLE[:cut_at]).line == WHOLE[:cut_at].count("\n") + 1 or "unclosed token" in str(
        refused(WHOLE[:cut_at])
    )


def endless(*parts: str) -> Callable[[], list[bytes]]:
    begin, part = parts
    return lambda: [begin.encode(), *[part.encode() * (1 << 14)] * 300]


@pytest.mark.parametrize(
    "document",
    [
        endless("<measCollecFile><!--", "comment "),
        endless("<measCollecFile a='", "attribute "),
        endless("<measCollecFile><measData><measInfo><measType p='1'>", "text "),
    ],
    ids=["comment", "attribute", "text"],
)
def test_a_token_without_end_is_refused_before_it_fills_the_memory(document: Callable[[], list[bytes]]) -> None:
    with pytest.raises(BadFile, match="is longer than"):
        list(read_blocks(document()))


def test_bytes_of_another_encoding_are_refused_at_their_place() -> None:
    error = refused(WHOLE.replace("C=2", "Zürich").encode("latin-1"))
    assert (error.line, error.column) == (5, 25)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252", "gbk", "utf-8-sig"])
def test_an_encoding_is_read_by_its_declaration_or_mark(encoding: str) -> None:
    text = WHOLE.replace('"1.0"', f'"1.0" encoding="{encoding.removesuffix("-sig")}"').replace(
        ">1<", ">Ü<" if encoding != "gbk" else ">中<"
    )
    (first, _) = values(text.encode(encoding))
    assert first == {"a": "Ü" if encoding != "gbk" else "中", "b": "2"}


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "base64", "utf-7", "utf-32"])
def test_an_encoding_nobody_uses_is_refused(encoding: str) -> None:
    assert f"encoding {encoding} is not supported" in str(
        refused(WHOLE.replace('"1.0"', f'"1.0" encoding="{encoding}"'))
    )


@pytest.mark.parametrize(
    "before", ["\n", "\ufeff", "\ufeff\n ", '<?xml-stylesheet href="a?b"?>\n', "\n<?a?><?b c??>\r\n"]
)
def test_blanks_and_instructions_before_the_declaration_are_let_pass(before: str) -> None:
    assert values(before + WHOLE) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_after_such_a_start_lines_are_counted_right() -> None:
    assert refused("\n<?a?>\n" + WHOLE.replace(">3<", "><")[:-5]).line == WHOLE.count("\n") + 3


@pytest.mark.parametrize(
    "text",
    [
        WHOLE.replace("<r ", "<!-- <r p='9'>9</r> --><r "),
        WHOLE.replace("<measValue", "<?x <measValue?><measValue"),
        WHOLE.replace("<measValue", "<!-- <measValue measObjLdn='x'><r p='1'>9</r></measValue> --><measValue"),
        WHOLE.replace(">1<", "><![CDATA[1]]><").replace(">4<", ">&#52;<"),
        WHOLE.replace("<measCollecFile>", "<pm:measCollecFile xmlns:pm='urn:x'>").replace("</meas", "</pm:meas")
        .replace("<meas", "<pm:meas").replace("<pm:measCollecFile><", "<pm:measCollecFile><").replace("pm:pm:", "pm:"),
        WHOLE.replace('<r p="1">1</r><r p="2">2</r>', '<r p="2">2</r><r p="1">1</r>'),
        WHOLE.replace('"', "'"),
        WHOLE.replace("\n", "\r\n"),
        WHOLE.replace('">', '"\n >').replace("<r ", "<r\t").replace("</r>", "</r >"),
        f'{HEAD}<!DOCTYPE measCollecFile SYSTEM "http://127.0.0.1:1/x.dtd">{DATA}',
    ],
)  # fmt: skip
def test_what_xml_allows_is_read_alike(text: str) -> None:
    assert values(text) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_a_file_of_very_many_counters_is_read() -> None:
    types = "".join(f'<measType p="{at}">c{at}</measType>' for at in range(1, 30_001))
    results = "".join(f'<r p="{at}">{at}</r>' for at in range(1, 30_001))
    begin, _, rest = WHOLE.partition("<measType")
    text = f'{begin}{types}<measValue measObjLdn="C=1">{results}</measValue>{rest[rest.index("</measInfo>") :]}'
    (found,) = values(text)
    assert found["c30000"] == "30000"


@pytest.mark.parametrize("p", ["(", "[", ".", "1|2", "\\", "a b", "{0}", "*"])
def test_a_p_that_means_something_in_patterns_is_only_a_p(p: str) -> None:
    odd = WHOLE.replace('p="1"', f'p="{p}"')
    assert values(odd) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert parsed(odd.replace(f'<r p="{p}">3', '<r p="x">3').encode()).counts.reasons == {"unknown p": 4}
