"""Elements and groups get names if the file does not state them."""

import pytest

from services.fetcher.parse.values.naming import class_of, derived_group, joined


@pytest.mark.parametrize(
    ("dn", "name"),
    [
        ("RncFunction=RF-1,UtranCell=Gbg-997", "UtranCell"),
        ("UtranCell=1", "UtranCell"),
        ("A=1, B = 2", "B"),
        ("A=1,B=x\\,y", "B"),
        ("A=1,B=x=y", "B"),
        ("A=1,PLMN-PLMN/MCC-244", ""),
        ("", ""),
        ("NodeName", ""),
    ],
)
def test_the_class_is_that_of_the_last_component(dn: str, name: str) -> None:
    assert class_of(dn) == name


def test_a_group_is_the_meas_info_id_else_the_class_of_what_is_measured() -> None:
    assert derived_group("PM=1,PmGroup=X", "A=1,Cell=2", "M=1") == "PM=1,PmGroup=X"
    assert derived_group("", "A=1,Cell=2", "M=1") == "Cell"
    assert derived_group("", "", "SubNetwork=1,MeContext=2") == "MeContext"
    assert derived_group("", "", "node-1") == "ManagedElement"


def test_a_name_is_joined_of_the_parts_that_are_there() -> None:
    assert joined("SubNetwork=1", "", "ManagedElement=2") == "SubNetwork=1,ManagedElement=2"
