import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sinks.dn import dn_components

CLASSES = st.text(st.characters(exclude_characters='=,\\"', exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text.strip(" ") != ""
)
VALUES = st.text(st.characters(exclude_categories=["Cs"]))
SPECIAL = re.compile(r'[,=+<>#;\\"\r\n ]')


def escaped(value: str) -> str:
    """Escapes a value as in RFC 2253 clause 2.4."""
    return SPECIAL.sub(lambda found: "\\" + found[0], value)


def in_pairs(value: str) -> str:
    """Escapes a value as in TS 32.300 clause 7.2: each special byte as a hexadecimal pair."""
    return SPECIAL.sub(lambda found: f"\\{ord(found[0]):02X}", value)


def quoted(value: str) -> str:
    return '"' + re.sub(r'[\\"]', lambda found: "\\" + found[0], value) + '"'


@pytest.mark.parametrize(
    ("dn", "components"),
    [
        ("UtranCell=Gbg-997", {"UtranCell": "Gbg-997"}),
        ("RncFunction=RF-1,UtranCell=Gbg-997", {"RncFunction": "RF-1", "UtranCell": "Gbg-997"}),
        ("DC=com,DC=CompanyXYZ,DC=Marketing", {"DC": "com", "DC_2": "CompanyXYZ", "DC_3": "Marketing"}),
        ("DC=marketing.CompanyXYZ.com,IRPAgent=A", {"DC": "marketing.CompanyXYZ.com", "IRPAgent": "A"}),
        ("A=1,A=2,A_2=3", {"A": "1", "A_2": "2", "A_2_2": "3"}),
        ("A_2=3,A=1,A=2", {"A_2": "3", "A": "1", "A_3": "2"}),
        (r"Cell=a\,b\=c\\d", {"Cell": r"a,b=c\d"}),
        (r"Cell=Malm\C3\B6\2C 1", {"Cell": "Malmö, 1"}),
        ('Cell="a,b \\"c\\"",Id=1', {"Cell": 'a,b "c"', "Id": "1"}),
        ("eNodeB Function Name=X 1, Local Cell ID = 7 ", {"eNodeB Function Name": "X 1", "Local Cell ID": "7"}),
        (r"Cell=\ a\ ", {"Cell": " a "}),
        ("Range=a=b+c", {"Range": "a=b+c"}),
        ("Cell=", {"Cell": ""}),
        ("PLMN-PLMN/MRBTS-20/LNBTS-20", {"PLMN": "PLMN", "MRBTS": "20", "LNBTS": "20"}),
        ("NE-MRBTS-1111/NE-LNBTS-2,ETH-LK-1", {"NE-MRBTS": "1111", "NE-LNBTS": "2", "ETH-LK": "1"}),
    ],
)
def test_a_name_is_split_at_its_components(dn: str, components: dict[str, str]) -> None:
    assert dn_components(dn) == components
    assert list(dn_components(dn)) == list(components)


@pytest.mark.parametrize(
    "text",
    ["", " ", "Cell", "MRBTS-20", "2023-05/15-07", "PLMN-PLMN/MRBTS-20/", "a/b", "/", "Cell=1,", ",Cell=1",
     "Cell=1,,Id=2", "Cell=1,2", "=1", " =1",
     'Cell="1', 'Cell="1"2', "Cell=1\\", "Cell=\\ff", "Ce\\,ll=1"],
)  # fmt: skip
def test_a_text_that_is_not_a_name_has_no_components(text: str) -> None:
    assert dn_components(text) == {}


@given(components=st.dictionaries(CLASSES.map(lambda text: text.strip(" ")), VALUES, min_size=1))
@pytest.mark.parametrize("written", [escaped, in_pairs, quoted])
def test_a_name_is_split_into_what_it_was_made_of(written: Callable[[str], str], components: dict[str, str]) -> None:
    dn = ",".join(f"{name}={written(value)}" for name, value in components.items())
    assert dn_components(dn) == components


@given(values=st.lists(VALUES, min_size=1), kind=CLASSES)
def test_no_value_of_a_repeated_class_is_lost(values: list[str], kind: str) -> None:
    assert list(dn_components(",".join(f"{kind}={escaped(value)}" for value in values)).values()) == values


@given(text=st.text(st.sampled_from('A1=,\\" aF\u00e4-/')))
def test_any_text_is_a_name_or_none(text: str) -> None:
    found = dn_components(text)
    assert all(found)
    assert all(isinstance(value, str) for value in found.values())
