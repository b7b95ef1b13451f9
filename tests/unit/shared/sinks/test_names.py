from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sinks.names import (
    KEY_COLUMNS,
    LONGEST_IDENTIFIER,
    allocated,
    column_names,
    helper_names,
    table_names,
)

TEXT = st.text(min_size=1)
SUFFIXES = ("_rows", "_all", "_all2", "_part2")
COUNTERS = ["A.b", "a.B", "ver", "TS", "x" * 65, "_row_exists", "DB_ROW_ID", "a ", "A", "á"]
GROUPS = ["Cell", "cell", "Cell_rows", "Cell_ROWS_all", "X=1,Y=Cell", "object", "group", "Cell_part2", "Cell ", "", "é"]


def allocated_one_by_one(
    names: Callable[..., Iterator[str]], keys: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], str]:
    taken: set[str] = set()
    found = {}
    for key in keys:
        found[key] = allocated(names(*key), taken)
        taken.add(found[key].lower())
    return found


def test_plain_groups_keep_their_name_and_others_get_a_digest() -> None:
    assert next(table_names("4ga", "EUtranCellFDD")) == "4ga_EUtranCellFDD"
    assert next(table_names("4ga", "Cell, hourly")).startswith("4ga_Cell_hourly_")


def test_a_group_that_is_a_distinguished_name_is_called_by_its_last_component_if_that_is_free() -> None:
    groups = [("5ga", "PM=1,PmGroup=NRCellCU"), ("5ga", "NRCellCU"), ("5ga", "PM=2,PmGroup=NRCellCU")]
    first, second, third = allocated_one_by_one(table_names, groups).values()
    assert first == "5ga_NRCellCU"
    assert second.startswith("5ga_NRCellCU_")
    assert third.startswith("5ga_PM_2_PmGroup_NRCellCU_")


@given(
    groups=st.lists(st.tuples(st.sampled_from(["4ga", "4ga_x", "pm", "", "é"]) | TEXT, st.sampled_from(GROUPS) | TEXT))
)
def test_no_name_of_a_group_is_given_twice_or_has_the_form_of_a_helper_or_of_an_own_table(
    groups: list[tuple[str, str]],
) -> None:
    names = [name.lower() for name in allocated_one_by_one(table_names, list(dict.fromkeys(groups))).values()]
    assert len(names) == len(set(names))
    for name in names:
        assert len(name) <= LONGEST_IDENTIFIER
        assert name.isascii()
        assert not name.endswith(SUFFIXES)
        assert not name.startswith(("pm_", "_", "."))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_helpers_of_long_names_are_told_apart(suffix: str) -> None:
    names = list(islice(helper_names("x" * LONGEST_IDENTIFIER, suffix), 5))
    assert len(set(names)) == 5
    assert all(name.endswith(suffix) and len(name) <= LONGEST_IDENTIFIER for name in names)
    assert next(helper_names("4ga_Cell", suffix)) == f"4ga_Cell{suffix}"


@given(counters=st.lists(TEXT | st.sampled_from(COUNTERS), unique=True))
def test_two_counters_never_share_a_column_whatever_their_case(counters: list[str]) -> None:
    names = list(allocated_one_by_one(column_names, [(counter,) for counter in counters]).values())
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert len(name) <= LONGEST_IDENTIFIER
        assert name.lower() not in KEY_COLUMNS
        assert name.isascii()
        assert name == name.strip()
        assert not name.startswith("_")


def test_a_name_crafted_to_equal_the_marked_name_of_another_gets_a_name_of_its_own() -> None:
    marked = next(column_names("é"))
    numbered = [f"{marked}_{n}" for n in range(2, 5)]
    for counters in ([marked, *numbered, "é"], ["é", *numbered, marked]):
        names = allocated_one_by_one(column_names, [(counter,) for counter in counters])
        assert len(set(names.values())) == len(counters)


def test_a_common_counter_keeps_its_name() -> None:
    for name in ("RRC.ConnEstabAtt.Sum", "pmPrb%Used", "a b", "x_1"):
        assert next(column_names(name)) == name
