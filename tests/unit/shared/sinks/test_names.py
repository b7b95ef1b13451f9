from hypothesis import given
from hypothesis import strategies as st

from shared.sinks.names import KEY_COLUMNS, LONGEST_IDENTIFIER, column_name, table_name

TEXT = st.text(min_size=1)


def test_plain_groups_keep_their_name_and_others_get_a_digest() -> None:
    assert table_name("4ga", "EUtranCellFDD") == "4ga_EUtranCellFDD"
    assert table_name("5ga", "PM=1,PmGroup=NRCellCU").startswith("5ga_PM_1_PmGroup_NRCellCU_")


@given(one=TEXT, other=TEXT)
def test_two_groups_never_share_a_table(one: str, other: str) -> None:
    names = table_name("s", one), table_name("s", other)
    assert all(len(name) <= LONGEST_IDENTIFIER for name in names)
    assert (names[0] == names[1]) == (one == other)


@given(counters=st.lists(TEXT | st.sampled_from(["A.b", "a.B", "ver", "TS", "x" * 65]), unique=True))
def test_two_counters_never_share_a_column_whatever_their_case(counters: list[str]) -> None:
    taken: set[str] = set()
    for counter in counters:
        name = column_name(counter, taken)
        assert len(name) <= LONGEST_IDENTIFIER
        assert name.lower() not in taken
        assert name.lower() not in KEY_COLUMNS
        assert name.isascii()
        assert name == name.strip()
        taken.add(name.lower())


def test_a_common_counter_keeps_its_name() -> None:
    assert column_name("RRC.ConnEstabAtt.Sum", set()) == "RRC.ConnEstabAtt.Sum"
    assert column_name("pmPrb%Used", set()) == "pmPrb%Used"
