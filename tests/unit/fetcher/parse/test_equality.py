"""The lane, expat alone and the reference reader give the same result for every document, however it is cut."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.blocks import read_blocks
from tests import reference
from tests.unit.fetcher.parse.documents import documents, omes
from tests.unit.fetcher.parse.reading import ORIGIN, cut, parsed, rows, without_nulls

DATA = Path(__file__).parents[3] / "data"
sizes = st.sampled_from((1, 7, 64, 1000, 1 << 16))
unhurried = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(text: str, chunk: int, piece: int) -> None:
    data = text.encode()
    well_formed = re.sub(r"^\s*(<\?pi a\?>)\s*(<\?xml [^>]*>)", r"\2\1", text)  # ElementTree is strict from the start
    expected = without_nulls(reference.rows(well_formed.encode(), ORIGIN.element))
    fast, slow = parsed(data, fast=True, chunk=chunk, piece=piece), parsed(data, fast=False, chunk=chunk)
    assert (fast.counts, rows(fast), fast.notes) == (slow.counts, rows(slow), slow.notes)
    assert without_nulls(rows(fast)) == expected
    assert fast.counts.values == sum(len(row["values"]) for row in expected)


@unhurried
@given(documents(), sizes, sizes)
def test_odd_documents_are_read_alike_in_chunks_and_pieces_of_any_size(text: str, chunk: int, piece: int) -> None:
    check(text, chunk, piece)


@unhurried
@given(documents(tidy=True), sizes, sizes)
def test_tidy_documents_are_read_alike_in_chunks_and_pieces_of_any_size(text: str, chunk: int, piece: int) -> None:
    check(text, chunk, piece)


@unhurried
@given(omes(), sizes, sizes)
def test_odd_results_of_omes_are_read_alike(text: str, chunk: int, piece: int) -> None:
    check(text, chunk, piece)


@unhurried
@given(omes(tidy=True), sizes, sizes)
def test_tidy_results_of_omes_are_read_alike(text: str, chunk: int, piece: int) -> None:
    check(text, chunk, piece)


@pytest.mark.timeout(60)
def test_a_row_without_its_end_yet_is_waited_for_whatever_is_left_over_before_it() -> None:
    """The lane once looped forever if the rest of a piece was as long as </measType>."""
    check((DATA / "cut" / "row-behind-a-short-rest.xml").read_text(), chunk=7, piece=64)


RESULT = """  <PMMOResult>
   <MO><DN>PLMN-PLMN/RNC-1/WBTS-2</DN></MO>
   <MO><baseId>NE-1</baseId><localMoid>DN:X-2</localMoid></MO>
   <NE-WBTS_1.0 measurementType="Load">
    <M1>1</M1>
    <M2>0,3</M2>
    <M3></M3>
   </NE-WBTS_1.0>
   <PMTarget  measurementType='Other'><M4>NIL</M4></PMTarget>
  </PMMOResult>
"""
SCRAPS = (
    "<", ">", "&", "&amp;", "]]>", "<!--", "-->", "<![CDATA[", "?>", "<?x ", '"', "'", "/", "\r", "\x01", "\x0b",
    "\x1d", "\uffff", "!",
    "</measInfo>", "<measInfo>", "</measValue>", '<measValue measObjLdn="x">', '<r p="1">', "</r>", "7", ",", "\u0085",

    "<PMMOResult>", "</PMMOResult>", "<M1>", "</M1>", "</MO>", " a='1'",
    '<measType p="2">', "</measType>", "\n", " ", "pm:", "</measData>", "<measData>", " p='1'", "<mv>", "</mi>", "<mt>",
)  # fmt: skip
"""Texts that may break a document."""
PARTS = (
    "<!-- <measValue> -->", "<![CDATA[<r>]]>", "<?x y?>", "\r\n", "<x/>", '<r p="1">5</r>', '<r p="2"/>', "<r>6</r>",
    "<suspect>true</suspect>", "<measTypes>a b</measTypes>", "<measResults>1 2</measResults>", "text", "&#65;", "<sf/>",
    '<measType p="2">c</measType>', '<measValue measObjLdn="C=1"></measValue>', "<mt>c</mt>", "</measInfo><measInfo>",
    "<mv><moid>C=1</moid><r>1</r><r>2</r></mv>", "<job jobId='1'/>", "<M5>7</M5>", "</M2><M2>", RESULT, "<DN>Y-1</DN>",
)  # fmt: skip
"""Texts that change the meaning of a document."""

MEAS = """<?xml version="1.0"?>
<measCollecFile><fileHeader dnPrefix="S=1"/><measData>
 <managedElement localDn="M=1"/>
 <measInfo measInfoId="A"><granPeriod duration="PT900S" endTime="2023-05-15T07:15:00Z"/>
  <measType p="1">a</measType>
  <measType p="2">b</measType>
  <measValue measObjLdn="C=1">
   <r p="1">1</r>
   <r p="2">0,3</r>
  </measValue>
  <measValue measObjLdn="C=2">
   <r p="1">2</r>
   <r p="2"> </r>
   <suspect>true</suspect>
  </measValue>
 </measInfo>
 <measInfo measInfoId="B"><granPeriod duration="PT900S" endTime="2023-05-15T07:15:00Z"/><measTypes>a b</measTypes>
  <measValue measObjLdn="C=1"><measResults>1 2</measResults></measValue>
 </measInfo>
</measData></measCollecFile>
"""
MDC = """<?xml version="1.0"?>
<!DOCTYPE mdc SYSTEM "MeasDataCollection.dtd">
<mdc><mfh><sn>S=1</sn></mfh><md><neid><neun>R</neun><nedn>M=1</nedn></neid>
 <mi><mts>20200518160000Z</mts><gp>900</gp>
  <mt>a</mt>
  <mt>b</mt>
  <mv><moid>C=1</moid>
   <r>1</r>
   <r>NIL</r>
   <sf>TRUE</sf>
  </mv>
  <mv><moid>C=2</moid>
   <r>1</r>
   <r>2</r>
  </mv>
 </mi>
</md><mff><ts>20200518160000Z</ts></mff></mdc>
"""


SETUP = f"""<PMSetup startTime="2011-02-20T15:00:00.000-06:00:00" interval="60">
{RESULT * 5}</PMSetup>
"""
OMES = f"""<?xml version="1.0"?>
<OMeS xmlns="pm/cnf_rnc_nsn.6.0.xsd">
{SETUP * 2}</OMeS>
"""


def damaged(chance: random.Random) -> str:
    """Generates a document with a few changes; about half of them leave it well-formed."""
    text = chance.choice((MEAS, MDC, OMES))
    between = chance.random() < 0.6
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if between:
            at = chance.choice([found.end() for found in re.finditer("[>\n]", text[: text.rindex("</")])])
            text = text[:at] + chance.choice(PARTS) + text[at:]
        else:
            at = chance.randrange(text.rindex("</"))  # behind the root, what expat says depends on how it is fed
            text = text[:at] + chance.choice((*SCRAPS, "")) + text[at + chance.choice((0, 0, 1, 5, 40)) :]
    return text


def outcome(data: bytes, *, fast: bool, chunk: int = 1 << 16, piece: int = 1 << 18) -> tuple[object, ...]:
    """Returns all rows and faults, or the error with its position."""
    try:
        found = list(read_blocks(cut(data, chunk), fast=fast, piece=piece))
    except BadFile as error:
        return str(error), error.line, error.column
    by_info: dict[str, list[str]] = {}
    for block in found:
        by_info.setdefault(repr(block.head), []).extend(block.lines)
    faults = [fault for block in found for fault in block.faults]
    return by_info, faults, sum(block.nulls for block in found)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_documents_are_read_alike_or_refused_at_the_same_place(seed: int) -> None:
    chance = random.Random(seed)
    outcomes: Counter[bool] = Counter()
    for _ in range(400):
        text = damaged(chance)
        data = text.encode()
        slow = outcome(data, fast=False)
        cuts = {"chunk": chance.choice((7, 64, 1 << 16)), "piece": chance.choice((1, 50, 300, 1 << 18))}
        assert outcome(data, fast=True, **cuts) == slow, text
        outcomes[isinstance(slow[0], str)] += 1
    assert min(outcomes.values()) > 80
