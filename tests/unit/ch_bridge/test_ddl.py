import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ch_bridge.comments import column_comment, counter_of_comment, group_of_comment, table_comment
from services.ch_bridge.cycles import cycle_table_statements
from services.ch_bridge.ddl import (
    CounterColumn,
    Deployment,
    TableState,
    create_database,
    create_object_table,
    next_statements,
    quoted_identifier,
    string_literal,
    table_state,
)

CLUSTER = Deployment("pm", "ReplicatedReplacingMergeTree")


GROUP = ("s", "G")
OWNER = '{"system":"s","measinfo":"G","table":"s_G"}'


def table(*columns: str, days: int = 0, exists: bool = True, viewed: tuple[str, ...] | None = ()) -> TableState:
    in_view = None if viewed is None else dict.fromkeys(viewed, "number")
    return TableState("s_G", GROUP, {c: CounterColumn(c, "number") for c in columns}, days, exists, in_view)  # type: ignore[arg-type]


NONE = table(exists=False, viewed=None)


def test_a_table_is_created_and_read_again_before_it_gets_columns_and_then_its_view_of_all_columns() -> None:
    (create,) = next_statements(NONE, table("a", days=30), Deployment())
    assert create.startswith("CREATE TABLE IF NOT EXISTS `s_G_rows` (")
    assert "ENGINE = ReplacingMergeTree(parsed_s) PARTITION BY" in create
    assert "TTL ts + INTERVAL 30 DAY SETTINGS" in create
    assert create.endswith(f"COMMENT '{OWNER}'")
    (alter,) = next_statements(table(), table("a"), Deployment())
    assert alter == (
        "ALTER TABLE `s_G_rows` ADD COLUMN IF NOT EXISTS `a` Nullable(Float64) "
        """COMMENT '{"counter":"a","unit":""}' CODEC(ZSTD(1))"""
    )
    (view,) = next_statements(table("a", "of another", viewed=None), table(), Deployment())
    assert view.startswith("CREATE OR REPLACE VIEW `s_G` AS WITH ")
    assert "AS `a`" in view
    assert "AS `of another`" in view
    assert view.endswith(f"COMMENT '{OWNER}'")
    assert next_statements(table("a", viewed=("a",)), table(), Deployment()) == []


def test_a_view_that_lacks_a_column_or_has_one_of_another_type_is_replaced() -> None:
    assert next_statements(table("a", "b", viewed=("a",)), table(), Deployment())
    widened = TableState("s_G", GROUP, {"a": CounterColumn("a", "text")}, in_view={"a": "number"})
    assert next_statements(widened, table(), Deployment())


def test_all_changes_of_a_table_are_one_statement() -> None:
    wanted = TableState(
        "s_G", GROUP, {"a": CounterColumn("a", "text"), "é": CounterColumn("b", "integer", "it's, octets")}, 7
    )
    (alter,) = next_statements(table("a", viewed=("a",)), wanted, Deployment())
    assert alter == (
        "ALTER TABLE `s_G_rows` MODIFY COLUMN `a` Nullable(String), "
        "ADD COLUMN IF NOT EXISTS `b` Nullable(Int64) "
        """COMMENT '{"counter":"é","unit":"it\\'s, octets"}' CODEC(ZSTD(1)), """
        "MODIFY TTL ts + INTERVAL 7 DAY"
    )


def test_thousands_of_columns_are_added_by_several_statements_and_a_prefix_comes_first() -> None:
    names = [f"c{n}.sub" for n in range(2500)] + ["c7"]
    statements = next_statements(table(), table(*names), Deployment())
    assert [statement.count("ADD COLUMN") for statement in statements] == [1000, 1000, 501]
    told = "".join(statements)
    assert told.index("`c7`") < told.index("`c7.sub`")


def test_the_ttl_is_removed_when_the_retention_ends() -> None:
    assert next_statements(table(days=7), table(), Deployment()) == ["ALTER TABLE `s_G_rows` REMOVE TTL"]


def test_in_a_cluster_every_statement_runs_on_all_servers_and_every_engine_replicates() -> None:
    told = [
        create_database("pm", CLUSTER),
        create_object_table(CLUSTER),
        *next_statements(NONE, table("a"), CLUSTER),
        *next_statements(table("a"), table(), CLUSTER),
        *cycle_table_statements(CLUSTER),
    ]
    assert len(told) == 7
    for statement in told:
        assert " ON CLUSTER `pm` " in statement + " "
        assert not re.search(r"ENGINE = (?!Replicated)", statement)


@pytest.mark.parametrize("name", ["a`b", "a\\b", "a'b", "%s", "{a:String}"])
def test_no_name_or_text_ends_its_quotes(name: str) -> None:
    assert quoted_identifier(name).replace("\\`", "").replace("\\\\", "").count("`") == 2
    assert string_literal(name).replace("\\'", "").replace("\\\\", "").count("'") == 2


def test_the_present_state_is_read_from_the_servers_answers() -> None:
    rows = [
        ("ts", "DateTime('UTC')", "end"),
        ("a", "Nullable(Float64)", '{"counter":"a","unit":"s"}'),
        ("b_1", "Nullable(String)", '{"counter":"é"}'),
        ("of a DBA", "String", "some text"),
    ]
    engine = [("ReplacingMergeTree TTL ts + toIntervalDay(3)", OWNER)]
    found = table_state("s_G", GROUP, engine, rows, rows[:2])
    assert found == TableState(
        "s_G",
        GROUP,
        {"a": CounterColumn("a", "number", "s"), "é": CounterColumn("b_1", "text")},
        3,
        exists=True,
        in_view={"a": "number"},
        others=frozenset({"of a DBA"}),
    )
    assert table_state("s_G", GROUP, [], [], []) == NONE


@given(system=st.text(), group=st.text(), unit=st.text())
def test_a_comment_tells_whose_a_table_or_column_is(system: str, group: str, unit: str) -> None:
    assert group_of_comment(table_comment((system, group), "t"), "t") == (system, group)
    assert group_of_comment(table_comment((system, group), "t"), "a copy") is None
    found = counter_of_comment(column_comment(group, unit))
    assert found is not None
    assert (found.counter, found.unit) == (group, unit)


@pytest.mark.parametrize("comment", ["", "octets", "[1]", "{", '{"counter":1}', '{"system":1,"table":"t"}'])
def test_a_comment_that_pmflow_did_not_write_names_nothing(comment: str) -> None:
    assert group_of_comment(comment, "t") is None
    assert counter_of_comment(comment) is None
