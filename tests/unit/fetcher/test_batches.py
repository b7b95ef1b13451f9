"""The messages of a file follow the contract and account for every value; a file is read completely or not at all."""

import gzip
import io
import json
import string
import zipfile
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.fetcher.assemble.batches import MAX_BYTES, gather, read_file
from services.fetcher.assemble.result import Counts, FileFacts, Origin, Parsed, Quarantined
from services.fetcher.assemble.tally import ConservationError
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.block import MeasInfoBlock, MeasInfoHead
from services.fetcher.parse.blocks import read_blocks
from services.fetcher.parse.unpack import Incomplete, UnpackLimits
from services.fetcher.parse.values.cells import MISSING
from services.fetcher.preprocess.declared import DeclaredType
from services.fetcher.preprocess.dictionary import Dictionary
from services.fetcher.preprocess.steps import Preprocessing
from services.fetcher.rows.spool import HeldText, Spool
from shared.messages import CounterBatch
from shared.topics import MESSAGE_MAX_BYTES
from tests import reference
from tests.unit.fetcher.parse.documents import documents

ORIGIN = Origin(system="4ga", file_id="00000000000000aa", element="enb-1", ver=7, zone="Etc/GMT-1")
END = "2023-05-15T07:15:00Z"


def info(body: str, types: str = "a b", group: str = "A", *, end: str = END, job: str = "j") -> str:
    names = "".join(f'<measType p="{at}">{name}</measType>' for at, name in enumerate(types.split(), 1))
    identity = f' measInfoId="{group}"' if group else ""
    head = f'<measInfo{identity}><job jobId="{job}"/><granPeriod duration="PT15M" endTime="{end}"/>'
    return f"{head}{names}{body}</measInfo>"


def value(name: str, *texts: str | None, suspect: str = "") -> str:
    results = "".join(f'<r p="{at}">{text}</r>' for at, text in enumerate(texts, 1) if text is not None)
    mark = f"<suspect>{suspect}</suspect>" if suspect else ""
    return f'<measValue measObjLdn="{name}">{results}{mark}</measValue>'


def document(*infos: str, local: str = "M=1", prefix: str = "S=1", sender: str = "") -> bytes:
    return (
        f'<measCollecFile><fileHeader dnPrefix="{prefix}"><fileSender localDn="{sender}"/></fileHeader>'
        f'<measData><managedElement localDn="{local}"/>{"".join(infos)}</measData></measCollecFile>'
    ).encode()


def read(*infos: str, **header: Any) -> Parsed:
    return read_file(document(*infos, **header), ORIGIN)


def messages(parsed: Parsed) -> list[CounterBatch]:
    return [CounterBatch.decode(batch.value) for batch in parsed.batches]


def stored(parsed: Parsed) -> dict[str, dict[str, Any]]:
    """Returns object -> its stored values."""
    return {
        row[0]: dict(zip(message.counters, row[2:], strict=True))
        for message in messages(parsed)
        for row in message.rows
    }


def test_a_message_is_a_counter_batch() -> None:
    parsed = read(info(value("C=1", "1", "0,,2") + value("C=2", " ", "1.50", suspect="true")))
    assert messages(parsed) == [
        CounterBatch(
            system="4ga",
            file_id="00000000000000aa",
            element="S=1,M=1",
            group="A",
            job="j",
            gp_s=900,
            end_s=1684134900,
            end_offset_min=0,
            ver=7,
            counters=["a", "b"],
            rows=[["C=1", 0, 1, [0, None, 2]], ["C=2", 1, None, 1.5]],
        )
    ]
    (batch,) = parsed.batches
    assert (batch.group, batch.rows, batch.values) == ("A", 2, 3)
    assert b'["C=2",1,null,1.50]' in batch.value
    assert parsed.counts == Counts(groups=1, rows=2, suspect=1, values=3, nulls=1, quarantined=0, dropped=0, reasons={})


@pytest.mark.parametrize(
    ("header", "element"),
    [
        ({}, "S=1,M=1"),
        ({"prefix": ""}, "M=1"),
        ({"local": "", "sender": "N=2"}, "S=1,N=2"),
        ({"local": "", "prefix": "", "sender": "N=2"}, "N=2"),
        ({"local": ""}, "enb-1"),
        ({"local": "", "prefix": ""}, "enb-1"),
    ],
)
def test_the_element_is_the_managed_one_else_the_sender_else_the_origin(header: dict[str, str], element: str) -> None:
    assert messages(read(info(value("C=1", "1", "2")), **header))[0].element == element


def test_a_time_without_zone_is_in_the_elements_zone() -> None:
    (message,) = messages(read(info(value("C=1", "1", "2"), end=END.removesuffix("Z"))))
    assert (message.end_s, message.end_offset_min) == (1684134900 - 3600, 60)


@pytest.mark.parametrize(
    ("end", "end_s", "offset_min"),
    [
        ("2023-05-15T07:15:00+0100", 1684131300, 60),
        ("2023-05-15T07:15:00+01:00", 1684131300, 60),
        ("2023-05-15T07:15:00-03:30", 1684147500, -210),
        ("2023-05-15T07:15:00Z", 1684134900, 0),
        ("2023-05-15T07:15", 1684131300, 60),
    ],
)
def test_a_period_ends_in_utc_with_the_offset_it_was_written_with(end: str, end_s: int, offset_min: int) -> None:
    (message,) = messages(read(info(value("C=1", "1", "2"), end=end)))
    assert (message.end_s, message.end_offset_min, message.gp_s) == (end_s, offset_min, 900)


def test_values_land_exactly_and_what_is_none_is_null_and_counted() -> None:
    texts = [
        "12e3",
        "2.5E-3",
        "18446744073709551616",
        "0.10",
        "1,,NIL",
        "up",
        "NIL",
        "NULL",
        "NaN",
        "-",
        "",
        "n/a",
        None,
    ]
    parsed = read(info(value("C=1", *texts), types=" ".join(string.ascii_letters[: len(texts)])))
    assert b'["C=1",0,12e3,2.5E-3,"18446744073709551616",0.10,[1,null,null],"up"' in parsed.batches[0].value
    assert list(stored(parsed)["C=1"].values())[6:] == [None] * (len(MISSING) + 1)
    assert (parsed.counts.values, parsed.counts.nulls) == (6, len(MISSING) + 1)


def test_the_same_object_in_several_blocks_is_one_row() -> None:
    parsed = read(
        info(value("C=1", "1", "2") + value("C=2", "3", "4", suspect="true")),
        info(value("C=2", "5") + value("C=3", "6", suspect="true"), types="c", job="k"),
        info(value("C=1", "7"), types="c", group="B"),
    )
    found = {(message.group, message.job): (message.counters, message.rows) for message in messages(parsed)}
    assert found == {
        ("A", "j"): (["a", "b"], [["C=1", 0, 1, 2]]),
        ("A", "j,k"): (["a", "b", "c"], [["C=2", 1, 3, 4, 5]]),
        ("A", "k"): (["c"], [["C=3", 1, 6]]),
        ("B", "j"): (["c"], [["C=1", 0, 7]]),
    }
    assert (parsed.counts.rows, parsed.counts.values, parsed.counts.dropped) == (4, 7, 0)


def test_a_counter_that_comes_twice_is_stored_once() -> None:
    parsed = read(
        info(value("C=1", "1", "2") + value("C=2", " ", "[x")), info(value("C=1", "1", "9") + value("C=2", "8", "[x"))
    )
    assert stored(parsed) == {"C=1": {"a": 1, "b": 2}, "C=2": {"a": 8, "b": "[x"}}
    assert parsed.counts == Counts(
        groups=1,
        rows=2,
        suspect=0,
        values=4,
        nulls=1,
        quarantined=1,
        dropped=2,
        reasons={"duplicate value": 2, "conflicting duplicate": 1},
    )
    (quarantined,) = parsed.quarantined
    assert orjson.loads(quarantined.detail)["values"] == [{"object": "C=1", "counter": "b", "kept": 2, "aside": 9}]


def test_a_counter_that_is_named_twice_in_one_block_is_stored_once() -> None:
    parsed = read(info(value("C=1", "1", "1", "2", "-"), types="a a a a"))
    assert stored(parsed) == {"C=1": {"a": 1}}
    assert parsed.counts.reasons == {"duplicate value": 1, "conflicting duplicate": 1}


def test_the_same_object_in_another_period_is_another_row() -> None:
    parsed = read(info(value("C=1", "1", "2")), info(value("C=1", "3", "4"), end="2023-05-15T07:30:00Z"))
    assert [(message.end_s, message.rows[0][2:]) for message in messages(parsed)] == [
        (1684134900, [1, 2]),
        (1684135800, [3, 4]),
    ]


GOOD = info(value("C=1", "1", "2"), group="good")


TYPE_A, TYPE_B = '<measType p="1">a</measType>', '<measType p="2">b</measType>'
LIST = '<measTypes>a b</measTypes><measValue measObjLdn="C=1"><measResults>1 2 3</measResults></measValue>'
TWICE = '<measValue measObjLdn="C=1"><r p="1">1</r><r p="1">2</r></measValue>'


@pytest.mark.parametrize(
    ("bad", "reason", "values"),
    [
        (LIST, "count mismatch", 3),
        (TYPE_A + TYPE_A + value("C=1", "1") + value("C=2", "2"), "duplicate p", 2),
        (TYPE_A + value("C=0", "5") + TWICE, "duplicate p", 3),
        (TYPE_A + value("C=1", "1", "2") + value("C=2", "3"), "unknown p", 3),
        ('<measType p="1"> </measType>' + value("C=1", "1"), "counter without a name", 1),
        (TYPE_A + value("C=1", "1") + TYPE_B + value("C=2", "2", "3"), "counter named after the first row", 3),
    ],
)
def test_a_block_that_does_not_fit_is_quarantined_and_the_rest_lands(bad: str, reason: str, values: int) -> None:
    parsed = read(GOOD, info(bad, types="", group="bad"), info(value("C=2", "3", "4"), group="good"))
    assert stored(parsed) == {"C=1": {"a": 1, "b": 2}, "C=2": {"a": 3, "b": 4}}
    assert sum(quarantined.values for quarantined in parsed.quarantined) == parsed.counts.quarantined == values
    assert {(quarantined.reason, quarantined.group) for quarantined in parsed.quarantined} == {(reason, "bad")}
    assert parsed.counts.reasons == {reason: values}


@pytest.mark.parametrize("end", ["", "yesterday", "2023-02-31T00:00:00Z"])
def test_a_block_without_a_period_is_quarantined(end: str) -> None:
    parsed = read(GOOD, info(value("C=1", "5", " "), group="bad", end=end))
    assert parsed.counts.reasons == {"bad period": 1}
    assert orjson.loads(parsed.quarantined[0].detail)["end"] == end


def test_what_is_quarantined_tells_both_counts_and_keeps_the_texts() -> None:
    body = '<measTypes>a b</measTypes><measValue measObjLdn="C=1"><measResults>007 up &lt;</measResults></measValue>'
    parsed = read(GOOD, info(body, types="", group="bad"))
    (quarantined,) = parsed.quarantined
    detail = orjson.loads(quarantined.detail)
    assert (detail["types"], detail["results"], detail["counters"]) == (2, 3, ["a", "b"])
    assert detail["faults"] == [{"object": "C=1", "suspect": False, "results": ["007", "up", "<"], "p": []}]
    assert (detail["system"], detail["file_id"], detail["element"], detail["end"]) == (
        "4ga",
        ORIGIN.file_id,
        "S=1,M=1",
        END,
    )


def test_messages_and_what_is_quarantined_never_exceed_their_limit() -> None:
    rows = "".join(value(f"C={at}", str(at), "text &amp; more") for at in range(400))
    bad = info(rows + '<measValue measObjLdn="C=1"><r p="9">1</r></measValue>', group="bad")
    whole = read_file(document(info(rows), bad), ORIGIN)
    cut = gather(read_blocks([document(info(rows), bad)]), ORIGIN, max_bytes=1000)
    assert max(len(batch.value) for batch in cut.batches) <= 1000
    assert max(len(quarantined.detail) for quarantined in cut.quarantined) <= 1000
    assert stored(cut) == stored(whole)
    assert cut.counts == whole.counts
    assert [sum(batch.values for batch in parsed.batches) for parsed in (cut, whole)] == [800, 800]
    assert MAX_BYTES < MESSAGE_MAX_BYTES


def test_a_row_that_fits_no_message_makes_a_bad_file() -> None:
    with pytest.raises(BadFile, match="does not fit"):
        gather(read_blocks([document(info(value("C=1", "1", "x" * 1000)))]), ORIGIN, max_bytes=1000)


@pytest.mark.parametrize(
    "body", [document(), document(info("")), document(info(value("C=1", " ", "NIL"))), document(info(value("C=1")))]
)
def test_a_file_without_any_value_is_read_and_says_so(body: bytes) -> None:
    parsed = read_file(body, ORIGIN)
    assert (parsed.counts.values, parsed.counts.reasons, parsed.notes) == (0, {}, ["no values"])
    assert all(value is None for message in messages(parsed) for row in message.rows for value in row[2:])


@pytest.mark.parametrize(
    ("lines", "nulls", "says"),
    [
        (['["C=1",0,1,2]'] * 2, 1, "3 values found, but 2 stored and 2 quarantined or dropped"),
        (['["C=1",0,1,2]', '["C=1",0,1'], 0, "not a row: b'[\"C=1\",0,1'"),
    ],
)
def test_a_lost_value_or_a_broken_row_is_a_defect_that_names_the_file(lines: list[str], nulls: int, says: str) -> None:
    head = MeasInfoHead(end=END, duration="PT15M", counters=("a", "b"))
    block = MeasInfoBlock(head, ['"C=1"'] * len(lines), lines, nulls)
    with pytest.raises(ConservationError) as caught:
        gather([block], replace(ORIGIN, file_name="A.xml"))
    assert str(caught.value) == f"file {ORIGIN.file_id} (A.xml) of 4ga/enb-1: {says}"


def test_a_file_is_read_however_it_is_packed_and_given() -> None:
    plain = document(GOOD)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("A.xml", plain)
        archive.writestr("B.xml.gz", gzip.compress(document(info(value("C=2", "3", "4")))))
    expected = read_file(plain, ORIGIN)
    assert read_file(gzip.compress(plain), ORIGIN) == expected
    assert read_file(iter([plain[:50], plain[50:]]), ORIGIN) == expected
    assert stored(read_file(packed.getvalue(), ORIGIN)) == {"C=1": {"a": 1, "b": 2}, "C=2": {"a": 3, "b": 4}}


def test_a_file_is_read_whole_or_not_at_all() -> None:
    plain = document(GOOD)
    with pytest.raises(BadFile, match="line 1"):
        read_file(plain[:-5], ORIGIN)
    with pytest.raises(Incomplete):
        read_file(gzip.compress(plain)[:-5], ORIGIN)
    with pytest.raises(BadFile, match="unpacks to more"):
        read_file(plain, ORIGIN, limits=UnpackLimits(max_bytes=10))


def cells(xml: str) -> tuple[int, int]:
    """Counts the cells with a value and those without one, as plainly as possible."""
    root = ET.fromstring(xml)
    texts: list[str] = []
    for node in root.iter():
        name = node.tag.rpartition("}")[2]
        text = "".join(node.itertext())
        if name in ("r", "measResults"):
            texts += [text] if name == "r" else reference._list(text)
    values = [reference._value(text) for text in texts]
    return sum(value is not None for value in values), sum(value is None for value in values)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), st.integers(1, 5000))
def test_values_in_the_file_are_stored_quarantined_or_dropped(text: str, chunk: int) -> None:
    xml = text.lstrip().removeprefix("<?pi a?>").lstrip()
    found, _ = cells(xml)
    data = text.encode()
    try:
        parsed = read_file((data[at : at + chunk] for at in range(0, len(data), chunk)), ORIGIN)
    except BadFile as error:
        outcome = (str(error), found)
        assert outcome == ("no values", 0)
        return
    counts = parsed.counts
    assert found == counts.values + counts.quarantined + counts.dropped
    assert counts.values == sum(batch.values for batch in parsed.batches)
    assert counts.values == sum(v is not None for message in messages(parsed) for row in message.rows for v in row[2:])
    assert counts.rows == sum(len(message.rows) for message in messages(parsed))
    assert counts.quarantined + counts.dropped == sum(counts.reasons.values())
    assert counts.quarantined == sum(quarantined.values for quarantined in parsed.quarantined)
    assert all(isinstance(json.loads(quarantined.detail), dict) for quarantined in parsed.quarantined)
    assert all(isinstance(quarantined, Quarantined) for quarantined in parsed.quarantined)


def test_a_file_tells_its_job_software_version_and_element() -> None:
    infos = info(value("C=1", "1", "2")), info(value("C=2", "1", "2"), job="k"), info(value("C=3", "1", "2"))
    tagged = document(*infos).replace(b'localDn="M=1"/>', b'localDn="M=1" swVersion=" R21 "/>')
    for written in (tagged, tagged.replace(b"managedElement", b"measuredEntity")):
        assert read_file(written, ORIGIN).facts == FileFacts("S=1,M=1", "R21", {"j": None, "k": None})
    assert read(*infos).facts.sw_version == ""
    mdc = (
        b"<mdc><mfh><sn>S=1</sn></mfh><md><neid><nedn>M=1</nedn><nesw>R5</nesw></neid><mi><mts>20230515071500Z</mts>"
        b"<gp>900</gp><mt>a</mt><mv><moid>C=1</moid><r>1</r></mv></mi></md></mdc>"
    )
    assert read_file(mdc, ORIGIN).facts == FileFacts("M=1", "R5")


def test_elements_of_the_same_name_behind_different_endpoints_can_be_told_apart() -> None:
    found = [
        read_file(
            document(info(value("C=1", "1", "2"))),
            replace(ORIGIN, endpoint=endpoint, parsed_s=1_700_000_000),
            preprocessing=Preprocessing(prefix_endpoint=True),
        )
        for endpoint in ("oss-1", "oss-2")
    ]
    assert [message.element for parsed in found for message in messages(parsed)] == ["oss-1/S=1,M=1", "oss-2/S=1,M=1"]
    assert [parsed.facts.managed_element for parsed in found] == ["oss-1/S=1,M=1", "oss-2/S=1,M=1"]
    assert {message.parsed_s for parsed in found for message in messages(parsed)} == {1_700_000_000}


def test_texts_that_do_not_fit_into_the_memory_of_the_spool_are_in_its_file() -> None:
    spool = Spool(memory_bytes=0)
    parsed = read_file(document(GOOD), ORIGIN, spool=spool)
    assert parsed.spooled is spool.file is not None
    assert stored(parsed) == stored(read(GOOD))
    parsed.close()
    assert spool.file.file.closed


class WatchedSpool(Spool):
    """A spool that tells what it took and what it released."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[bytes] = []
        self.released: list[HeldText] = []

    def put(self, text: bytes) -> HeldText:
        self.taken.append(text)
        return super().put(text)

    def release(self, held: HeldText) -> None:
        self.released.append(held)
        super().release(held)


def test_changed_rows_take_the_place_of_the_original_ones_in_the_spool() -> None:
    spool, body = WatchedSpool(), value("C=1", "absent", "2")
    read_file(
        document(info(body)), ORIGIN, preprocessing=Preprocessing(("missing-tokens",), (b'"absent"',)), spool=spool
    )
    original, changed = b'["C=1",0,"absent",2]', b'["C=1",0,null,2]'
    assert spool.taken[:2] == [original, changed]
    assert spool.released[0] == original


def test_unchanged_rows_stay_in_the_spool_as_they_are() -> None:
    spool = WatchedSpool()
    read_file(document(info(value("C=1", "1", "2"))), ORIGIN, spool=spool)
    assert spool.taken.count(b'["C=1",0,1,2]') == 1


def test_the_dictionary_is_asked_for_the_group_of_each_counter() -> None:
    dictionary = Dictionary(by_group={("A", "a"): DeclaredType("text"), ("B", "a"): DeclaredType("integer")})
    infos = info(value("C=1", "1", "2"), group="A") + info(value("C=1", "1", "2"), group="B")
    parsed = read_file(document(infos), ORIGIN, preprocessing=Preprocessing(dictionary=dictionary))
    assert {m.group: m.types.get("a") for m in messages(parsed)} == {"A": "text", "B": "integer"}


def test_the_values_of_nameless_counters_are_quarantined_from_every_part_of_a_measinfo() -> None:
    names = '<measType p="1">a</measType><measType p="2"> </measType>'
    objects = 500
    body = "".join(value(f"C={n}", str(n), str(1000 + n)) for n in range(objects))
    text = document(info(names + body, types=""))
    parsed = read_file(iter([text[at : at + 2000] for at in range(0, len(text), 2000)]), ORIGIN)
    assert {name: row["a"] for name, row in stored(parsed).items()} == {f"C={n}": n for n in range(objects)}
    told = b"".join(block.detail for block in parsed.quarantined)
    assert all(b"%d" % (1000 + n) in told for n in range(objects))
    assert parsed.counts.quarantined == objects


def test_a_measinfo_whose_counters_all_lack_a_name_still_names_its_element() -> None:
    parsed = read(info('<measType p="1"> </measType>' + value("C=1", "5"), types=""))
    assert parsed.counts.quarantined == 1
    assert parsed.batches == []
    assert parsed.facts.managed_element == "S=1,M=1"
