"""Nokia's OMeS is read in the form of public examples."""

import pytest

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.xml.omes_lane import form_of
from tests import reference
from tests.unit.fetcher.parse.reading import ORIGIN, parsed, rows, without_nulls

OMES = """<?xml version="1.0"?>
<OMeS xmlns="pm/cnf_rnc_nsn.6.0.xsd">
  <PMSetup startTime="2011-02-20T15:00:00.000-06:00:00" interval="60">
    <PMMOResult>
      <MO><DN><![CDATA[PLMN-PLMN/RNC-1902/WBTS-201/WCEL-2015]]></DN></MO>
      <MO><DN><![CDATA[PLMN-PLMN/MCC-334/MNC-3]]></DN></MO>
      <WBTS_1.0 measurementType="Cell_Load">
        <M1017C11>1</M1017C11>
        <M1017C12>13.439999</M1017C12>
        <M1017C13></M1017C13>
      </WBTS_1.0>
      <WBTS_1.0 measurementType="Cell_Other">
        <M1018C1>2</M1018C1>
      </WBTS_1.0>
    </PMMOResult>
    <PMMOResult>
      <MO dimension="network_element"><DN>PLMN-PLMN/RNC-1902/WBTS-201/WCEL-2016</DN></MO>
      <PMTarget measurementType="Cell_Load"><M1017C11>4</M1017C11><M1017C14>5</M1017C14></PMTarget>
    </PMMOResult>
  </PMSetup>
  <PMSetup startTime="2011-02-20T15:45:00.000-06:00:00" interval="15">
    <PMMOResult>
      <MO><baseId>NE-MRBTS-66</baseId><localMoid>DN:NE-LNBTS-66/LNCEL-1</localMoid></MO>
      <NE-WBTS_1.0 measurementType="LTE_Cell_Load"><M8001C427>9</M8001C427></NE-WBTS_1.0>
    </PMMOResult>
  </PMSetup>
</OMeS>
"""


def test_objects_periods_and_groups_are_those_of_the_file() -> None:
    found = rows(parsed(OMES.encode()))
    assert [(row["element"], row["group"], row["object"], row["gp_s"], row["values"]) for row in found] == [
        ("NE-MRBTS-66", "LTE_Cell_Load", "NE-MRBTS-66/NE-LNBTS-66/LNCEL-1", 900, {"M8001C427": "9"}),
        (
            ORIGIN.element,
            "Cell_Load",
            "PLMN-PLMN/RNC-1902/WBTS-201/WCEL-2015,PLMN-PLMN/MCC-334/MNC-3",
            3600,
            {"M1017C11": "1", "M1017C12": "13.439999", "M1017C13": None},
        ),
        (
            ORIGIN.element,
            "Cell_Load",
            "PLMN-PLMN/RNC-1902/WBTS-201/WCEL-2016",
            3600,
            {"M1017C11": "4", "M1017C14": "5"},
        ),
        (
            ORIGIN.element,
            "Cell_Other",
            "PLMN-PLMN/RNC-1902/WBTS-201/WCEL-2015,PLMN-PLMN/MCC-334/MNC-3",
            3600,
            {"M1018C1": "2"},
        ),
    ]
    assert {row["end_s"] for row in found} == {1298239200}


def test_the_reference_reads_the_same() -> None:
    assert without_nulls(rows(parsed(OMES.encode()))) == without_nulls(reference.rows(OMES.encode(), ORIGIN.element))


def test_what_was_measured_may_stand_behind_its_values() -> None:
    begin, mo, rest = OMES.partition("<MO><baseId>")
    name, end, rest = rest.partition("</MO>")
    turned = begin + rest.replace("</PMMOResult>", mo + name + end + "</PMMOResult>", 1)
    assert rows(parsed(turned.encode())) == rows(parsed(OMES.encode()))


def test_a_block_whose_interval_is_not_a_number_is_quarantined() -> None:
    found = parsed(OMES.replace('interval="15"', 'interval="soon"').encode())
    assert [(quarantined.reason, quarantined.group, quarantined.values) for quarantined in found.quarantined] == [
        ("bad period", "LTE_Cell_Load", 1)
    ]
    assert found.counts.values == 5


def test_results_of_one_form_are_read_by_the_lane_and_an_error_behind_them_at_its_place() -> None:
    values = "<T_1.0 measurementType='G'><C1>{0}</C1><C2>NIL</C2></T_1.0>"
    result = f"<PMMOResult>\n<MO><DN>A-{{0}}</DN></MO>\n{values}\n</PMMOResult>\n"
    begin = '<OMeS><PMSetup startTime="2020-05-18T16:00:00Z" interval="15">\n'
    text = begin + "".join(map(result.format, range(40))) + "</PMSetup></OMeS>"
    found = rows(parsed(text.encode(), piece=500))
    assert {row["object"]: row["values"] for row in found} == {
        f"A-{at}": {"C1": str(at), "C2": None} for at in range(40)
    }
    assert form_of(result.replace("A-{0}", "").replace("{0}", "").replace("NIL", "").replace("\n<", "<"))
    damaged = text.replace("</PMSetup>", "<x>&</PMSetup>")
    places = set()
    for fast in (True, False):
        with pytest.raises(BadFile) as caught:
            parsed(damaged.encode(), fast=fast)
        places.add((str(caught.value), caught.value.line))
    ((_, line),) = places
    assert line == damaged[: damaged.index("<x>")].count("\n") + 1


def test_a_form_with_anything_but_leaves_is_none() -> None:
    form = "<PMMOResult><MO><DN></DN></MO><T><C1></C1></T></PMMOResult>"
    assert form_of(form)
    for odd in (
        "<C1/>",
        "<C1><x></x></C1>",
        "<p:C1></p:C1>",
        "<C1></C2>",
        "<C1 a='&lt;'></C1>",
        "<C1>",
        "</C1>",
        "t<C1></C1>",
    ):
        assert form_of(form.replace("<C1></C1>", odd)) is None, odd
